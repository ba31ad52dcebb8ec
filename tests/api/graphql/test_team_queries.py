"""Templates, schedules, webhooks, users, projects, filters, settings: as REST shows them."""

import httpx
import pytest

from api.graphql.arguments import camel
from cortex.db.engine import Database
from tests.api.graphql.support import data, refusal
from tests.api.graphql.test_context import statements
from tests.api.routes.test_projects import made, someone
from tests.api.routes.test_schedules import SCHEDULES, schedule, trigger
from tests.api.routes.test_templates import TEMPLATES
from tests.api.support import spec

__all__ = ["statements"]

_TEMPLATES = """query ($first: Int!, $after: String) { templates(first: $first, after: $after) {
    nodes { id name version } edges { cursor } pageInfo { hasNextPage endCursor } } }"""
_RUNS = """query ($id: ID!, $first: Int!, $after: String) {
    scheduleRuns(schedule: $id, first: $first, after: $after) {
        nodes { state cause made job { id name } group { id } }
        edges { cursor } pageInfo { hasNextPage endCursor } } }"""


async def template(client: httpx.AsyncClient, name: str) -> str:
    answer = await client.post(TEMPLATES, json={"name": name, "job": spec()})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


class TestTemplates:
    async def test_page_by_page(self, client: httpx.AsyncClient) -> None:
        ids = [await template(client, f"t{number}") for number in range(3)]
        first = (await data(client, _TEMPLATES, first=2))["templates"]
        assert [node["id"] for node in first["nodes"]] == [ids[2], ids[1]]
        assert first["pageInfo"] == {"hasNextPage": True, "endCursor": ids[1]}
        assert first["edges"][-1]["cursor"] == ids[1]
        rest = (await data(client, _TEMPLATES, first=2, after=ids[1]))["templates"]
        assert [node["name"] for node in rest["nodes"]] == ["t0"]
        assert rest["pageInfo"]["hasNextPage"] is False

    async def test_one_at_its_versions(self, client: httpx.AsyncClient) -> None:
        name = await template(client, "greet")
        await client.patch(f"{TEMPLATES}/{name}", json={"description": "better"})
        query = """query ($id: ID!) { template(id: $id) { version description job parameters }
            old: template(id: $id, version: 1) { version latest description }
            templateVersions(id: $id, first: 1) { nodes { version } edges { cursor }
                pageInfo { endCursor hasNextPage } } }"""
        found = await data(client, query, id=name)
        assert found["template"]["description"] == "better"
        assert found["template"]["job"]["command"] == ["echo", "hello"]
        assert found["old"] == {"version": 1, "latest": 2, "description": ""}
        assert found["templateVersions"] == {
            "nodes": [{"version": 2}],
            "edges": [{"cursor": "2"}],
            "pageInfo": {"endCursor": "2", "hasNextPage": True},
        }

    @pytest.mark.parametrize(
        ("query", "told"),
        [
            ('{ templates(after: "x") { nodes { id } } }', "`after` is no cursor"),
            ('{ schedules(after: "tpl_1") { nodes { id } } }', "`after` is no cursor"),
            ("{ schedules(first: 500) { nodes { id } } }", "`first` must be from 1 to 100"),
            ('{ settingsHistory(after: "0") { nodes { version } } }', "`after` is no cursor"),
            ('{ template(id: "x", version: 0) { id } }', "`version` must be from 1"),
            ('{ template(id: "x") { id } }', "there is no template `x`"),
            ('{ schedule(id: "job_1") { id } }', "there is no schedule `job_1`"),
            ('{ webhook(id: "x") { id } }', "there is no webhook `x`"),
            ('{ user(name: "nobody") { id } }', "there is no user `nobody`"),
            ('{ project(name: "nothing") { name } }', "there is no project `nothing`"),
        ],
    )
    async def test_nonsense(self, client: httpx.AsyncClient, query: str, told: str) -> None:
        assert told in (await refusal(client, query))["message"]


class TestSchedules:
    async def test_as_rest_shows_it(self, client: httpx.AsyncClient) -> None:
        view = await schedule(client)
        rest = (await client.get(f"{SCHEDULES}/{view.id}")).json()
        names = " ".join(camel(name) for name in rest)
        query = f"query ($id: ID!) {{ schedule(id: $id) {{ {names} }} }}"
        shown = (await data(client, query, id=view.id))["schedule"]
        assert shown.pop("overlap") == rest.pop("overlap").upper()
        assert shown == {camel(name): value for name, value in rest.items()}
        listed = await data(client, f"{{ schedules {{ nodes {{ {names} }} }} }}")
        assert [node["id"] for node in listed["schedules"]["nodes"]] == [view.id]

    async def test_runs_with_their_jobs_in_few_statements(
        self, client: httpx.AsyncClient, database: Database, statements: list[str]
    ) -> None:
        view = await schedule(client)
        jobs = [(await trigger(client, view.id)).made for _ in range(5)]
        await data(client, _RUNS, id=view.id, first=5)
        counts = []
        for first in (1, 5):
            statements.clear()
            page = (await data(client, _RUNS, id=view.id, first=first))["scheduleRuns"]
            counts.append(len(statements))
        assert counts[0] == counts[1], statements
        assert [node["job"]["id"] for node in page["nodes"]] == jobs[::-1]
        assert page["nodes"][0]["state"] == "SUBMITTED"
        assert page["nodes"][0]["group"] is None
        first_page = (await data(client, _RUNS, id=view.id, first=2))["scheduleRuns"]
        place = first_page["pageInfo"]["endCursor"]
        assert first_page["edges"][-1]["cursor"] == place
        rest = (await data(client, _RUNS, id=view.id, first=5, after=place))["scheduleRuns"]
        assert [node["made"] for node in rest["nodes"]] == jobs[2::-1]


class TestPeople:
    async def test_users_projects_and_filters(self, client: httpx.AsyncClient) -> None:
        ann = await someone(client, "ann")
        await made(client)
        await client.put("/api/v1/filters/mine", json={"state": ["running"]}, headers=ann)
        query = """{ users { name role active } user(name: "ann") { kind }
            projects { name members { name } } project(name: "vision") { createdBy } }"""
        found = await data(client, query)
        assert {"name": "ann", "role": "DEVELOPER", "active": True} in found["users"]
        assert found["user"] == {"kind": "PERSON"}
        assert found["projects"] == [{"name": "vision", "members": []}]
        assert found["project"] == {"createdBy": "local"}
        mine = await data(client, "{ filters { name owner jobs } projects { name } }", ann)
        assert mine["filters"][0]["jobs"]["state"] == ["running"]
        assert mine["projects"] == []
        assert (await refusal(client, "{ users { name } }", ann))["code"] == "forbidden"

    async def test_settings(self, client: httpx.AsyncClient) -> None:
        for most in (5, 6, 7):
            change = {"values": {"api.max_sockets": most}, "comment": "so"}
            assert (await client.patch("/api/v1/settings", json=change)).status_code == 200
        query = """query ($after: String) { settingsHistory(first: 2, after: $after) {
            nodes { version values changedBy comment } pageInfo { endCursor hasNextPage } } }"""
        page = (await data(client, query))["settingsHistory"]
        assert page["nodes"][0] == {
            "version": 3,
            "values": {"api.max_sockets": 7},
            "changedBy": "local",
            "comment": "so",
        }
        assert page["pageInfo"] == {"endCursor": "2", "hasNextPage": True}
        rest = (await data(client, query, after="2"))["settingsHistory"]
        assert [node["version"] for node in rest["nodes"]] == [1]

    async def test_webhooks_are_ones_own(self, client: httpx.AsyncClient) -> None:
        hook = {"url": "https://hooks.test/x", "headers": {"X-Token": "T0K3N"}}
        made_ = await client.post("/api/v1/webhooks", json=hook)
        assert made_.status_code == 201, made_.text
        name = made_.json()["info"]["id"]
        query = "query ($id: ID!) { webhooks { id url headers } webhook(id: $id) { enabled } }"
        found = await data(client, query, id=name)
        assert found["webhooks"] == [
            {"id": name, "url": "https://hooks.test/x", "headers": ["x-token"]}
        ]
        assert found["webhook"] == {"enabled": True}
        assert "T0K3N" not in str(found)
        ann = await someone(client, "ann")
        assert (await data(client, "{ webhooks { id } }", ann))["webhooks"] == []
