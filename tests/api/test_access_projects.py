"""Every route with every role over own, shared and foreign things; and the quiet leaks.

What is expected is read from the policy, once more and in another way than the server does it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr
from sqlalchemy import text

from api.access import SUBJECTS
from cortex.db.engine import Database
from cortex.domain.ids import new_id
from cortex.domain.rights import IN_PROJECTS, POLICY, Action, Reach, Role
from cortex.settings import ApiKey, Settings
from tests.api.groups import GROUPS, group
from tests.api.routes.test_schedules import SCHEDULES
from tests.api.routes.test_templates import TEMPLATES
from tests.api.support import AUTH, JOBS, client_of, serve, spec
from tests.api.test_access import being, guarded_routes, needed

SERVER = {role.value: role for role in Role}
MEMBERS = {f"in-{role}": role for role in Role}
"""Developers of the server that have a role in the project `team`."""


@dataclass(frozen=True)
class Thing:
    """A job, a group and so on that somebody has in a project."""

    owner: str
    project: str
    job: str
    group: str
    template: str
    schedule: str
    webhook: str

    def id_of(self, parameter: str) -> str:
        return str(getattr(self, SUBJECTS[parameter]))


@dataclass(frozen=True)
class Case:
    """Somebody, what they are where the thing is, and what the policy says of that."""

    who: str
    server: Role
    there: Role | None
    thing: Thing

    def reach(self, action: Action) -> str:
        """`yes`, `no`, or `hidden`."""
        return "hidden" if not self._may(Action.JOBS_READ) else "yes" if self._may(action) else "no"

    def _may(self, action: Action) -> bool:
        if POLICY[self.server].get(action) is Reach.ALL:
            return True
        counts = self.there is not None and action in IN_PROJECTS
        reach = POLICY[self.there].get(action) if counts and self.there else None
        return reach in (Reach.PROJECT, Reach.ALL) or (
            reach is Reach.OWN and self.thing.owner == self.who
        )


@pytest.fixture
def settings(settings: Settings) -> Settings:
    people = SERVER | dict.fromkeys([*MEMBERS, "dora"], Role.DEVELOPER)
    keys = {
        name: ApiKey(key=SecretStr(f"key-of-{name:>16}"), role=role)
        for name, role in people.items()
    }
    api = settings.api.model_copy(update={"keys": keys})
    return settings.model_copy(update={"api": api})


@pytest.fixture
async def client(settings: Settings, providers: None) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(settings) as http:
        for name, members in {"team": [*MEMBERS, "dora"], "other": ["dora"]}.items():
            await http.post("/api/v1/projects", json={"name": name})
            for member in members:
                role = MEMBERS.get(member, Role.DEVELOPER)
                path = f"/api/v1/projects/{name}/members/{member}"
                assert (await http.put(path, json={"role": role.value})).status_code == 200
        yield http


async def thing(client: httpx.AsyncClient, database: Database, owner: str, project: str) -> Thing:
    """Submitted by somebody who may, and given to its owner, who may not be allowed to."""
    where = {"project": project} if project in ("team", "other") else {}
    head = being("dora")
    job = (await client.post(JOBS, json=spec(), params=where, headers=head)).json()["id"]
    made = (await client.post(GROUPS, json=group(), params=where, headers=head)).json()["id"]
    body = {"name": new_id("tpl"), "job": spec()}
    template = await client.post(TEMPLATES, json=body, params=where, headers=head)
    shape = template.json()["id"]
    body = {"name": new_id("sch"), "cron": "0 3 * * *", "job": spec()}
    nightly = (await client.post(SCHEDULES, json=body, params=where, headers=head)).json()["id"]
    body = {"url": "https://hooks.example.com/x"}
    answer = await client.post("/api/v1/webhooks", json=body, params=where, headers=head)
    hook = answer.json()["info"]["id"]
    async with database.transaction() as tx:
        of = {
            **{"jobs": job, "job_groups": made, "templates": shape, "schedules": nightly},
            "webhooks": hook,
        }
        for table, name in of.items():
            await tx.connection.execute(
                text(f"UPDATE {table} SET owner = :owner, project = :project WHERE id = :id"),
                {"owner": owner, "project": project, "id": name},
            )
    return Thing(owner, project, job, made, shape, nightly, hook)


def routes_of_things() -> list[tuple[APIRoute, Action]]:
    routes = [(route, needed(route)[0].action) for route in guarded_routes()]
    return [
        (route, action)
        for route, action in routes
        if any(name in route.param_convertors for name in SUBJECTS)
    ]


class TestMatrix:
    async def test_every_route_role_and_owner(
        self, client: httpx.AsyncClient, database: Database, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cases: list[Case] = []
        foreign = await thing(client, database, "dora", "other")
        shared = await thing(client, database, "dora", "team")
        for who, role in SERVER.items():
            own = await thing(client, database, who, who)
            cases += [Case(who, role, role, own), Case(who, role, None, foreign)]
            cases.append(Case(who, role, None, shared))
        for who, role in MEMBERS.items():
            own = await thing(client, database, who, "team")
            cases += [
                Case(who, Role.DEVELOPER, role, own),
                Case(who, Role.DEVELOPER, role, shared),
                Case(who, Role.DEVELOPER, None, foreign),
            ]
        walked = 0
        for route, action in routes_of_things():
            for case in cases:
                for method in route.methods or ():
                    await self._walk(client, route, method, action, case)
                    walked += 1
        with capsys.disabled():
            print(f"\n{walked} cases of route, role and owner as the policy says")  # noqa: T201
        assert walked > 250

    async def _walk(
        self, client: httpx.AsyncClient, route: APIRoute, method: str, action: Action, case: Case
    ) -> None:
        path, subject = _path(route, case.thing)
        # No body: who may goes on, to an answer about that; nothing is changed but by `cancel`.
        if (method == "DELETE" or path.endswith("/cancel")) and case.reach(action) == "yes":
            return
        answer = await client.request(method, path, headers=being(case.who))
        where = (method, route.path, case)
        expected = case.reach(action)
        named = next(name for name in SUBJECTS if name in route.param_convertors)
        missing = f"there is no {SUBJECTS[named]} `{subject}`"
        if method == "HEAD":
            assert (answer.status_code == 403) == (expected == "no"), where
        elif expected == "hidden":
            # Also where the role never may: that is said of what one may know of.
            never = not any(POLICY[r].get(action) for r in _roles(case, action))
            assert answer.status_code == (403 if never else 404), where
            if not never:
                assert answer.json()["detail"] == missing, where
        elif expected == "no":
            assert answer.status_code == 403, where
            assert subject not in answer.text.replace(path, ""), where
        else:
            assert answer.status_code not in (401, 403), (*where, answer.text)
            assert missing not in answer.text, where

    def test_a_route_about_many_is_narrowed(self) -> None:
        """By the id in its path, or by the projects that one may see; else it names why not."""
        other = {
            "/api/v1/jobs/validate": "about no job that is there",
            "/api/v1/groups/validate": "about no group that is there",
            "/api/v1/quotes": "about no job that is there",
        }
        for route in guarded_routes():
            (need,) = needed(route)
            if need.action not in IN_PROJECTS or any(
                name in route.param_convertors for name in SUBJECTS
            ):
                continue
            names = _dependencies(route.dependant)
            narrowed = names & {"Narrowed", "_target", "_caller"}
            assert narrowed or route.path in other, route.path


class TestLeaks:
    async def test_lists_and_sums(self, client: httpx.AsyncClient, database: Database) -> None:
        hidden = await thing(client, database, "dora", "other")
        mine = await thing(client, database, "in-viewer", "team")
        await _billed(database, hidden.job, 7)
        await _billed(database, mine.job, 2)
        ann = being("in-viewer")
        for path in (
            JOBS,
            f"{JOBS}?owner=dora",
            f"{JOBS}?state=pending",
            f"{JOBS}?name=hello&limit=500",
            f"{JOBS}?group={hidden.group}",
            GROUPS,
            f"{GROUPS}?owner=dora",
            TEMPLATES,
            SCHEDULES,
            "/api/v1/webhooks",
            "/api/v1/events?limit=1000",
            "/api/v1/ledger?limit=1000",
            "/api/v1/ledger?format=csv",
            "/api/v1/costs?group_by=job",
            "/api/v1/costs?group_by=project,owner",
            "/api/v1/costs?format=csv",
            "/api/v1/stuck",
            "/api/v1/providers/local/jobs",
            "/api/v1/costs/forecast",
        ):
            answer = await client.get(path, headers=ann)
            assert answer.status_code == 200, answer.text
            assert hidden.job not in answer.text, path
            assert hidden.group not in answer.text, path
            assert hidden.template not in answer.text, path
            assert hidden.schedule not in answer.text, path
            assert hidden.webhook not in answer.text, path
            assert "other" not in answer.text, path
        costs = (await client.get("/api/v1/costs", headers=ann)).json()
        assert costs["total_usd"] == "2"
        assert (await client.get("/api/v1/costs")).json()["total_usd"] == "9"
        forecast = (await client.get("/api/v1/costs/forecast", headers=ann)).json()
        assert forecast["charged"]["amount"] == "2"
        seen = [job["id"] for job in (await client.get(JOBS, headers=ann)).json()["items"]]
        assert mine.job in seen
        events = (await client.get("/api/v1/events?limit=1000", headers=ann)).json()["items"]
        assert {event["subject"] for event in events} >= {mine.job, mine.group}
        for path in (JOBS, GROUPS, "/api/v1/events", "/api/v1/costs", "/api/v1/ledger"):
            for project in ("other", "nothing"):
                answer = await client.get(path, params={"project": project}, headers=ann)
                told = (answer.status_code, answer.json()["detail"])
                assert told == (404, f"there is no project `{project}`"), path
        answer = await client.get(JOBS, params={"project": "nothing"})
        assert answer.status_code == 404  # for an admin as well
        answer = await client.get(f"/api/v1/ledger?job={hidden.job}", headers=ann)
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            f"there is no job `{hidden.job}`",
        )

    async def test_pages_of_several_projects(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        """Merged in their order, however small the pages."""
        who = being("in-developer")
        for number in range(6):
            await thing(client, database, "dora", ("team", "other", "in-developer")[number % 3])
        whole = (await client.get(f"{JOBS}?limit=500", headers=who)).json()["items"]
        assert {job["project"] for job in whole} == {"team", "in-developer"}
        walked, cursor = [], ""
        while True:
            page = (await client.get(f"{JOBS}?limit=1{cursor}", headers=who)).json()
            walked += [job["id"] for job in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert walked == [job["id"] for job in whole]

    async def test_a_live_stream(self, settings: Settings, client: httpx.AsyncClient) -> None:
        async with (
            serve(settings) as (url, _),
            httpx.AsyncClient(base_url=url, timeout=30) as http,
            http.stream(
                "GET",
                "/api/v1/events?from=start",
                headers={**being("in-viewer"), "accept": "text/event-stream"},
            ) as stream,
        ):
            lines = stream.aiter_lines()
            hidden = await client.post(
                JOBS, json=spec(), params={"project": "other"}, headers=being("dora")
            )
            shown = await client.post(
                JOBS, json=spec(), params={"project": "team"}, headers=being("dora")
            )
            heard = ""
            async with asyncio.timeout(30):
                while shown.json()["id"] not in heard:
                    heard += await anext(lines)
            assert hidden.json()["id"] not in heard
            # Nothing that comes after the removal is sent: the stream ends instead.
            await http.delete("/api/v1/projects/team/members/in-viewer", headers=AUTH)
            late = await client.post(
                JOBS, json=spec(), params={"project": "team"}, headers=being("dora")
            )
            async with asyncio.timeout(30):
                rest = "".join([line async for line in lines])
            assert late.json()["id"] not in rest

    async def test_who_leaves_a_project_sees_it_no_longer(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        mine = await thing(client, database, "in-viewer", "team")
        head = being("in-viewer")
        assert (await client.get(f"{JOBS}/{mine.job}", headers=head)).status_code == 200
        await client.delete("/api/v1/projects/team/members/in-viewer")
        # From the very next request on.
        assert (await client.get(f"{JOBS}/{mine.job}", headers=head)).status_code == 404
        assert (await client.get(JOBS, headers=head)).json()["items"] == []


async def _billed(database: Database, job_id: str, amount: int) -> None:
    async with database.transaction() as tx:
        for statement in (
            "INSERT INTO leases (key, job_id, attempt, provider_id, state, offer, currency) "
            "VALUES (:job || '-1', :job, 1, 'local', 'released', '{}', 'USD')",
            "UPDATE jobs SET provider_id = 'local' WHERE id = :job",
            "INSERT INTO ledger (id, job_id, lease_key, provider_id, kind, amount, currency, "
            "usd_rate) VALUES ('led_' || :job, :job, :job || '-1', 'local', 'charge', :amount, "
            "'USD', 1)",
        ):
            await tx.connection.execute(text(statement), {"job": job_id, "amount": amount})


def _roles(case: Case, action: Action) -> list[Role]:
    """All that somebody is anywhere, as far as it counts."""
    member = case.who in MEMBERS and action in IN_PROJECTS
    return [case.server, *([MEMBERS[case.who]] if member else [])]


def _path(route: APIRoute, of: Thing) -> tuple[str, str]:
    path, subject = route.path, ""
    for name in route.param_convertors:
        value = of.id_of(name) if name in SUBJECTS else "nothing"
        subject = value if name in SUBJECTS else subject
        path = path.replace(f"{{{name}:path}}", "a").replace(f"{{{name}}}", value)
    return path, subject


def _dependencies(dependant: object) -> set[str]:
    names: set[str] = set()
    for dependency in getattr(dependant, "dependencies", []):
        call = dependency.call
        names.add(getattr(call, "__name__", type(call).__name__))
        names |= _dependencies(dependency)
    return names
