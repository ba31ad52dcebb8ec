"""A template is submitted, a schedule paused and resumed, as by REST."""

import httpx

from cortex.db.engine import Database
from tests.api.graphql.support import data, refusal
from tests.api.groups import group
from tests.api.routes.test_schedules import schedule
from tests.api.routes.test_templates import TEMPLATES
from tests.api.support import spec
from tests.api.test_access import audited

SUBMIT = """mutation ($id: ID!, $params: JSON, $overrides: JSON, $key: String, $version: Int) {
    submitTemplate(id: $id, params: $params, overrides: $overrides, idempotencyKey: $key,
                   version: $version) {
        job { id replayed job { name spec } } group { id replayed group { total } } } }"""
GREET = {
    "name": "greet",
    "parameters": {"who": {"type": "string"}},
    "job": spec(env={"WHO": "${{ who }}"}),
}


class TestTemplates:
    async def test_becomes_a_job_once(self, client: httpx.AsyncClient) -> None:
        name = (await client.post(TEMPLATES, json=GREET)).json()["id"]
        given = {"id": name, "params": {"who": "Ann"}, "overrides": {"name": "other"}, "key": "k"}
        made = (await data(client, SUBMIT, **given))["submitTemplate"]
        assert made["group"] is None
        assert made["job"]["job"]["name"] == "other"
        assert made["job"]["job"]["spec"]["env"] == {"WHO": "Ann"}
        again = (await data(client, SUBMIT, **given))["submitTemplate"]
        assert again["job"] == {**made["job"], "replayed": True}

    async def test_becomes_a_group(self, client: httpx.AsyncClient) -> None:
        body = {"name": "many", "group": group()}
        name = (await client.post(TEMPLATES, json=body)).json()["id"]
        made = (await data(client, SUBMIT, id=name))["submitTemplate"]
        assert made["job"] is None
        assert made["group"]["group"]["total"] > 0

    async def test_the_errors_are_those_of_rest(self, client: httpx.AsyncClient) -> None:
        name = (await client.post(TEMPLATES, json=GREET)).json()["id"]
        error = await refusal(client, SUBMIT, id=name)
        rest = await client.post(f"{TEMPLATES}/{name}/submit", json={})
        assert error["message"] == rest.json()["detail"]
        error = await refusal(client, SUBMIT, id=name, params=[1])
        assert error["code"] == "invalid_request"
        error = await refusal(client, SUBMIT, id=name, version=9)
        assert error["code"] == "not_found"


async def test_a_schedule_is_paused_and_resumed(
    client: httpx.AsyncClient, database: Database
) -> None:
    view = await schedule(client)
    pause = """mutation ($id: ID!) { pauseSchedule(id: $id, note: "holidays") {
        id schedule { paused note } } }"""
    changed = (await data(client, pause, id=view.id))["pauseSchedule"]
    assert changed == {"id": view.id, "schedule": {"paused": True, "note": "holidays"}}
    resume = "mutation ($id: ID!) { resumeSchedule(id: $id) { schedule { paused note } } }"
    changed = (await data(client, resume, id=view.id))["resumeSchedule"]
    assert changed == {"schedule": {"paused": False, "note": ""}}
    done = [(action, subject) for _, action, subject, _ in await audited(database)]
    assert done[-2:] == [("schedule.pause", view.id), ("schedule.resume", view.id)]
    wrong = 'mutation { resumeSchedule(id: "x") { id } }'
    assert (await refusal(client, wrong))["message"] == "there is no schedule `x`"
