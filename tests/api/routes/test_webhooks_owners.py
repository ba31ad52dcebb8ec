"""Whose webhooks are, and who hears of what by them: personal ones, and those of a project."""

from typing import Any

import httpx
import pytest

from cortex.db.engine import Database
from cortex.domain.ids import new_id
from cortex.settings import Settings
from tests.api.routes.test_webhooks import HOOKS, URL, made, settings
from tests.api.support import check_problem
from tests.webhooks.support import Worker, happen, new_job, receiving

__all__ = ["settings"]


async def key_of(client: httpx.AsyncClient, name: str, role: str, *scopes: str) -> dict[str, str]:
    await client.post("/api/v1/users", json={"name": name, "role": role})
    body = {"name": "x", "user": name, "scopes": scopes}
    answer = await client.post("/api/v1/keys", json=body)
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['key']}"}


class TestOwners:
    async def test_one_sees_and_changes_own_ones_only(self, client: httpx.AsyncClient) -> None:
        ann, bob = (
            await key_of(client, "ann", "developer"),
            await key_of(client, "bob", "developer"),
        )
        of_ann = (await client.post(HOOKS, json={"url": URL}, headers=ann)).json()["info"]
        of_bob = (await client.post(HOOKS, json={"url": URL}, headers=bob)).json()["info"]
        own = (await client.get(HOOKS, headers=bob)).json()["items"]
        assert [each["id"] for each in own] == [of_bob["id"]]
        check_problem(await client.get(f"{HOOKS}?owner=ann", headers=bob), 403, "forbidden")
        for webhook_id in (of_ann["id"], new_id("whk"), "x"):
            path = f"{HOOKS}/{webhook_id}"
            for method, each in (
                *(("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/ping")),
                *(("POST", f"{path}/rotate-secret"), ("POST", f"{path}/redeliver")),
                *(("GET", f"{path}/deliveries"), ("GET", f"{path}/deliveries/dlv_1")),
            ):
                body: dict[str, Any] | None = {} if method in ("PATCH", "POST") else None
                answer = await client.request(method, each, json=body, headers=bob)
                problem = check_problem(answer, 404, "not_found")
                assert problem.detail == f"there is no webhook `{webhook_id}`"
        assert (await client.get(f"{HOOKS}/{of_ann['id']}", headers=ann)).status_code == 200
        operator = await key_of(client, "eve", "operator")
        assert len((await client.get(HOOKS, headers=operator)).json()["items"]) == 2
        for role in ("viewer", "billing"):
            headers = await key_of(client, role, role)
            check_problem(await client.get(HOOKS, headers=headers), 403, "forbidden")

    async def test_a_developer_gets_events_of_own_jobs_only(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        ann = await key_of(client, "ann", "developer")
        async with receiving() as hers, receiving() as all_:
            bodies: list[dict[str, Any]] = [
                {"url": hers.url},
                {"url": hers.url, "jobs": {"owner": "bob"}},
            ]
            for body in bodies:
                assert (await client.post(HOOKS, json=body, headers=ann)).status_code == 201
            await made(client, all_.url)
            await happen(database, await new_job(database, "ann"), "hers")
            await happen(database, await new_job(database, "bob"), "his")
            await happen(database, None, "nobody's", subject="akash")
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send_all()
        assert hers.notes == ["hers"]
        listed = (await client.get(HOOKS)).json()["items"]
        assert [(each["waiting"], each["dead"]) for each in listed] == [(0, 0)] * 3
        assert sorted(all_.notes) == ["hers", "his", "nobody's"]

    async def test_who_has_left_a_project_hears_nothing_of_it(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        ann = await key_of(client, "ann", "developer")
        await client.post("/api/v1/projects", json={"name": "team"})
        member = "/api/v1/projects/team/members/ann"
        await client.put(member, json={"role": "developer"})
        async with receiving() as receiver:
            await client.post(HOOKS, json={"url": receiver.url}, headers=ann)
            job = await new_job(database, "ann", project="team")
            await happen(database, job, "in it")
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send_all()
            await happen(database, job, "waits")
            await worker.fan_out()
            assert (await client.delete(member)).status_code == 204
            await happen(database, job, "left")
            await happen(database, await new_job(database, "ann"), "own")
            await worker.fan_out()
            await worker.send_all()
        assert receiver.notes == ["in it", "own"]

    async def test_a_key_of_one_project_makes_no_personal_one(
        self, client: httpx.AsyncClient
    ) -> None:
        """It would tell of more than the key may see; one of that project does not."""
        ann = await key_of(client, "ann", "developer")
        await client.post("/api/v1/projects", json={"name": "team"})
        await client.put("/api/v1/projects/team/members/ann", json={"role": "developer"})
        own = (await client.post(HOOKS, json={"url": URL}, headers=ann)).json()["info"]["id"]
        made = []
        for project in ("team", "ann"):
            body = {"name": "x", "user": "ann", "project": project}
            key = (await client.post("/api/v1/keys", json=body)).json()["key"]
            headers = {"authorization": f"Bearer {key}"}
            made.append(await client.post(HOOKS, json={"url": URL}, headers=headers))
            answer = await client.patch(f"{HOOKS}/{own}", json={"url": URL}, headers=headers)
            assert answer.status_code == (404 if project == "team" else 403)
            for other in ("ann", "team"):
                if other != project:
                    params = {"project": other}
                    answer = await client.post(
                        HOOKS, json={"url": URL}, params=params, headers=headers
                    )
                    check_problem(answer, 404, "not_found")
        assert made[0].status_code == 201
        assert made[0].json()["info"]["project"] == "team"
        assert "`ann` only" in check_problem(made[1], 403, "forbidden").detail

    async def test_a_key_that_may_not_read_jobs_makes_none(self, client: httpx.AsyncClient) -> None:
        headers = await key_of(client, "ann", "developer", "webhooks:change")
        answer = await client.post(HOOKS, json={"url": URL}, headers=headers)
        assert "jobs:read" in check_problem(answer, 403, "forbidden").detail

    async def test_who_may_less_gets_less(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        headers = await key_of(client, "eve", "operator")
        async with receiving() as receiver:
            made = await client.post(HOOKS, json={"url": receiver.url}, headers=headers)
            path = f"{HOOKS}/{made.json()['info']['id']}"
            await happen(database, await new_job(database, "bob"), 1)
            worker = Worker(database, settings)
            await worker.fan_out()
            await client.patch("/api/v1/users/eve", json={"role": "developer"})
            await happen(database, await new_job(database, "bob"), 2)
            await happen(database, await new_job(database, "eve"), 3)
            await worker.fan_out()
            await worker.send_all()
            assert receiver.notes == [3]
            (entry,) = (await client.get("/api/v1/audit?action=user.update")).json()["items"]
            assert entry["data"]["webhooks"] == [path.rsplit("/", 1)[1]]
            for change, why in (
                ({"role": "viewer"}, "the role `viewer` has none"),
                ({"role": "developer"}, "the role `viewer` has none"),
                ({"active": False}, "who is switched off"),
            ):
                await client.patch("/api/v1/users/eve", json=change)
                shown = (await client.get(path)).json()
                assert not shown["enabled"]
                assert shown["disabled_reason"] == f"it is of `eve`: {why}"
                if change == {"role": "developer"}:
                    await client.patch(path, json={"enabled": True})


TEAM = {"project": "team"}


@pytest.fixture
async def team(client: httpx.AsyncClient) -> dict[str, dict[str, str]]:
    """Whoever is in the project `team`, by the role there, and `out`, who is in none."""
    await client.post("/api/v1/projects", json={"name": "team"})
    people = {}
    for name in ("ann", "bob", "operator", "viewer", "out"):
        people[name] = await key_of(client, name, "developer")
        role = name if name in ("operator", "viewer") else "developer"
        if name != "out":
            path = f"/api/v1/projects/team/members/{name}"
            assert (await client.put(path, json={"role": role})).status_code == 200
    return people


class TestOfAProject:
    async def test_who_sees_changes_and_sends_again(
        self, client: httpx.AsyncClient, team: dict[str, dict[str, str]]
    ) -> None:
        answer = await client.post(HOOKS, json={"url": URL}, params=TEAM, headers=team["ann"])
        assert answer.status_code == 201, answer.text
        info = answer.json()["info"]
        assert (info["owner"], info["project"]) == ("ann", "team")
        path = f"{HOOKS}/{info['id']}"
        changes: tuple[tuple[str, str, dict[str, str] | None], ...] = (
            ("PATCH", path, {"description": "x"}),
            ("POST", f"{path}/ping", None),
            ("POST", f"{path}/redeliver", {}),
            ("POST", f"{path}/rotate-secret", {}),
        )
        for who, sees, may in (
            ("ann", 200, True),
            ("bob", 200, False),
            ("operator", 200, True),
            ("viewer", 403, False),
            ("out", 404, False),
        ):
            head = team[who]
            assert (await client.get(path, headers=head)).status_code == sees, who
            assert (await client.get(f"{path}/deliveries", headers=head)).status_code == sees, who
            listed = await client.get(HOOKS, headers=head)
            shown = [each["id"] for each in listed.json().get("items", ())]
            assert shown == ([info["id"]] if sees == 200 else []), who
            for method, each, body in changes:
                answer = await client.request(method, each, json=body, headers=head)
                if may:
                    assert answer.status_code in (200, 202), (who, each, answer.text)
                else:
                    assert answer.status_code == (404 if who == "out" else 403), (who, each)
        (one,) = (await client.get(HOOKS, params=TEAM, headers=team["bob"])).json()["items"]
        assert one["id"] == info["id"]
        answer = await client.get(HOOKS, params=TEAM, headers=team["out"])
        check_problem(answer, 404, "not_found")
        assert (await client.delete(path, headers=team["operator"])).status_code == 204

    async def test_who_makes_one(
        self, client: httpx.AsyncClient, team: dict[str, dict[str, str]]
    ) -> None:
        for who, project, status in (
            ("operator", "team", 201),
            ("viewer", "team", 403),
            ("out", "team", 404),
            ("out", "nothing", 404),
            ("ann", "bob", 404),
        ):
            params = {"project": project}
            answer = await client.post(HOOKS, json={"url": URL}, params=params, headers=team[who])
            assert answer.status_code == status, (who, project, answer.text)
        answer = await client.post(HOOKS, json={"url": URL}, params={"project": "bob"})
        check_problem(answer, 404, "not_found")  # for an admin as well

    async def test_it_gets_the_events_of_all_jobs_there_and_of_nothing_else(
        self,
        client: httpx.AsyncClient,
        database: Database,
        settings: Settings,
        team: dict[str, dict[str, str]],
    ) -> None:
        async with receiving() as receiver:
            for head in (team["ann"], {}):  # by an admin of the server it is the same
                body = {"url": receiver.url}
                answer = await client.post(HOOKS, json=body, params=TEAM, headers=head)
                assert answer.status_code == 201, answer.text
            await happen(database, await new_job(database, "bob", project="team"), "his")
            await happen(database, await new_job(database, "ann", project="team"), "hers")
            await happen(database, await new_job(database, "ann"), "her own")
            await happen(database, await new_job(database, "bob", project="other"), "elsewhere")
            await happen(database, None, "nobody's", subject="akash")
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send_all()
        assert sorted(receiver.notes) == ["hers", "hers", "his", "his"]

    @pytest.mark.parametrize("end", ["leaves", "viewer", "off"])
    async def test_who_is_out_keeps_nothing(
        self,
        client: httpx.AsyncClient,
        database: Database,
        settings: Settings,
        team: dict[str, dict[str, str]],
        end: str,
    ) -> None:
        """Whoever said where it leads; not the one who made it."""
        async with receiving() as receiver:
            answer = await client.post(HOOKS, json={"url": URL}, params=TEAM, headers=team["ann"])
            path = f"{HOOKS}/{answer.json()['info']['id']}"
            change = {"url": receiver.url}
            answer = await client.patch(path, json=change, headers=team["operator"])
            assert answer.status_code == 200
            await client.delete("/api/v1/projects/team/members/ann")
            job = await new_job(database, "bob", project="team")
            worker = Worker(database, settings)
            await happen(database, job, "heard")
            await worker.fan_out()
            await worker.send_all()
            await happen(database, job, "waits")
            await worker.fan_out()
            member = "/api/v1/projects/team/members/operator"
            if end == "leaves":
                await client.delete(member)
            elif end == "viewer":
                await client.put(member, json={"role": "viewer"})
            else:
                await client.patch("/api/v1/users/operator", json={"active": False})
            await happen(database, job, "after")
            await worker.fan_out()
            await worker.send_all()
            assert receiver.notes == ["heard"]
            shown = (await client.get(path)).json()
            assert not shown["enabled"]
            assert "`operator`, who vouched for it" in shown["disabled_reason"]
            if end == "leaves":
                assert (await client.get(path, headers=team["operator"])).status_code == 404
            action = "user.update" if end == "off" else "project.member"
            entry = (await client.get(f"/api/v1/audit?action={action}")).json()["items"][0]
            assert entry["data"]["webhooks"] == [shown["id"]]
            # Another who enables it vouches from then on.
            await client.patch(path, json={"enabled": True})
            await worker.fan_out()
            await worker.send_all()
            assert receiver.notes == ["heard", "waits", "after"]
