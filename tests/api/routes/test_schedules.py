"""Schedules through the API; Temporal, which fires them, is away."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.schedules import ScheduleRun
from cortex.schemas.schedules import ScheduleView
from tests.api.routes.test_projects import joined, made, someone
from tests.api.routes.test_templates import TEMPLATES, template
from tests.api.support import JOBS, check_problem, spec

SCHEDULES = "/api/v1/schedules"
NIGHTLY: dict[str, Any] = {"name": "nightly", "cron": "0 3 * * *", "job": spec()}


async def schedule(client: httpx.AsyncClient, **values: Any) -> ScheduleView:
    body = {**NIGHTLY, **values}
    answer = await client.post(SCHEDULES, json={k: v for k, v in body.items() if v is not None})
    assert answer.status_code == 201, answer.text
    view = ScheduleView.model_validate_json(answer.content)
    assert answer.headers["location"] == f"{SCHEDULES}/{view.id}"
    return view


async def commands(database: Database) -> list[tuple[str, str]]:
    query = "SELECT kind, schedule_id FROM commands WHERE schedule_id IS NOT NULL ORDER BY id"
    async with database.reading() as tx:
        return [(row[0], row[1]) for row in await tx.connection.execute(text(query))]


async def trigger(client: httpx.AsyncClient, schedule_id: str) -> ScheduleRun:
    answer = await client.post(f"{SCHEDULES}/{schedule_id}/trigger")
    assert answer.status_code == 202, answer.text
    return ScheduleRun.model_validate_json(answer.content)


class TestChanges:
    async def test_made_changed_paused_and_taken_away(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        first = await schedule(client, timezone="Europe/Berlin", jitter="5m")
        assert (first.owner, first.project, first.told) == ("local", "local", False)
        assert [time.astimezone(UTC).minute for time in first.next_runs] == [0] * 5
        path = f"{SCHEDULES}/{first.id}"
        answer = await client.get(path)
        tag = answer.headers["etag"]
        change = {"cron": "30 3 * * 1-5", "jitter": None, "overlap": "cancel_other"}
        answer = await client.patch(path, json=change, headers={"if-match": tag})
        changed = ScheduleView.model_validate_json(answer.content)
        assert (changed.cron, changed.jitter, changed.timezone) == (
            "30 3 * * 1-5",
            None,
            "Europe/Berlin",
        )
        assert {time.isoweekday() for time in changed.next_runs} <= {1, 2, 3, 4, 5}
        answer = await client.patch(path, json=change, headers={"if-match": tag})
        check_problem(answer, 412, "precondition_failed")
        for _ in range(2):
            answer = await client.post(f"{path}/pause", json={"note": "holidays"})
            paused = ScheduleView.model_validate_json(answer.content)
            assert (paused.paused, paused.note, paused.next_runs) == (True, "holidays", ())
        resumed = (await client.post(f"{path}/resume")).json()
        assert (resumed["paused"], resumed["note"]) == (False, "")
        listed = (await client.get(SCHEDULES, params={"name": "nightly"})).json()["items"]
        assert [each["id"] for each in listed] == [first.id]
        assert (await client.delete(path)).status_code == 204
        check_problem(await client.get(path), 404, "not_found")
        assert await commands(database) == [("schedule", first.id)] * 5
        async with database.reading() as tx:
            rows = await tx.connection.execute(text("SELECT action FROM audit_log ORDER BY id"))
            actions = list(rows.scalars())
        assert actions == [
            f"schedule.{what}" for what in ("create", "update", "pause", "resume", "delete")
        ]

    async def test_names_are_those_of_a_project(self, client: httpx.AsyncClient) -> None:
        await schedule(client)
        check_problem(await client.post(SCHEDULES, json=NIGHTLY), 409, "conflict")
        await made(client, "vision")
        answer = await client.post(SCHEDULES, json=NIGHTLY, params={"project": "vision"})
        assert answer.status_code == 201
        page = (await client.get(SCHEDULES, params={"limit": 1})).json()
        rest = (await client.get(SCHEDULES, params={"cursor": page["next_cursor"]})).json()
        assert ([len(page["items"]), len(rest["items"])], rest["next_cursor"]) == ([1, 1], None)

    @pytest.mark.parametrize(
        ("values", "field", "message"),
        [
            ({"cron": "every day"}, "cron", "it has 2 fields in place of five"),
            ({"cron": "61 * * * *"}, "cron", "no cron expression: bad minute"),
            ({"cron": "0 0 30 2 *"}, "cron", "no cron expression: bad day-of-month"),
            ({"cron": "0 0 L * *"}, "cron", "`L` or `#`"),
            ({"timezone": "Mars/Olympus"}, "timezone", "is no time zone"),
            ({"end_at": "2020-01-01T00:00:00Z"}, "cron", "is never due"),
            (
                {"start_at": "2030-01-02T00:00:00Z", "end_at": "2030-01-01T00:00:00Z"},
                "end_at",
                "is not after `start_at`",
            ),
            ({"start_at": "tomorrow"}, "start_at", "RFC 3339"),
            ({"catchup": "1s"}, "catchup", "from 10s to 30d"),
            ({"jitter": "2h"}, "jitter", "from 1s to 1h"),
            ({"job": None}, "template", "is required, or a `job` instead"),
            ({"job": {"command": ["x"], "cpu": 1}}, "job.cpu", "is not a known field"),
            (
                {"job": {"command": ["x"], "secret_env": {"A": "b"}}},
                "job.secret_env.A",
                "kept in clear",
            ),
            ({"params": {"a": 1}}, "job", "takes no `params`"),
            ({"overlap": "perhaps"}, "overlap", "'skip'"),
        ],
    )
    async def test_nonsense(
        self, client: httpx.AsyncClient, values: dict[str, Any], field: str, message: str
    ) -> None:
        body = {k: v for k, v in {**NIGHTLY, **values}.items() if v is not None}
        answer = await client.post(SCHEDULES, json=body)
        problem = check_problem(answer, 422, "invalid_request")
        told = {error.field: error.message for error in problem.errors}
        assert message in told[field], told

    async def test_of_a_template(self, client: httpx.AsyncClient) -> None:
        stored = await template(client)
        body = {**NIGHTLY, "template": "greet"}
        body.pop("job")
        answer = await client.post(SCHEDULES, json=body)
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["params.who"]
        answer = await client.post(SCHEDULES, json={**body, "template": "nothing"})
        check_problem(answer, 404, "not_found")
        view = await schedule(client, job=None, template="greet", params={"who": "ann", "times": 2})
        assert (view.template, view.template_version, view.params["times"]) == ("greet", None, "2")
        run = await trigger(client, view.id)
        job = (await client.get(f"{JOBS}/{run.made}")).json()
        assert job["template"] == {"id": stored.id, "name": "greet", "version": 1}
        assert job["spec"]["env"]["TIMES"] == "2"
        path = f"{SCHEDULES}/{view.id}"
        answer = await client.patch(path, json={"params": {"who": "A B"}})
        check_problem(answer, 422, "invalid_request")
        answer = await client.patch(path, json={"job": spec(name="plain"), "params": {}})
        assert (answer.json()["template"], answer.json()["job"]["name"]) == (None, "plain")

    async def test_a_parameter_that_is_a_secret_is_not_kept(
        self, client: httpx.AsyncClient
    ) -> None:
        job = {"command": ["env"], "secret_env": {"TOKEN": "${{ token }}"}}
        await template(client, parameters={"token": {"type": "string"}}, job=job)
        body = {**NIGHTLY, "template": "greet", "params": {"token": "hush-hush"}}
        body.pop("job")
        answer = await client.post(SCHEDULES, json=body)
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == "params.token"
        assert "hush-hush" not in answer.text

    async def test_a_secret_of_the_project_may_be_named(self, client: httpx.AsyncClient) -> None:
        put = await client.put("/api/v1/secrets/hf", json={"value": "hush-hush"})
        assert put.status_code in (200, 201), put.text
        env = {"TOKEN": {"secret": "hf"}}
        stored = await template(client, parameters={}, job={"command": ["env"], "secret_env": env})
        assert stored.job == {"command": ["env"], "secret_env": env}
        for values in (
            {"name": "a", "job": spec(secret_env=env)},
            {"name": "b", "job": None, "template": "greet"},
        ):
            view = await schedule(client, **values)
            run = await trigger(client, view.id)
            job = (await client.get(f"{JOBS}/{run.made}")).json()
            assert job["spec"]["secret_env"] == env
            assert "hush-hush" not in str(job)


class TestByHand:
    async def test_trigger_runs_in_the_name_of_the_owner(self, client: httpx.AsyncClient) -> None:
        ann = await someone(client, "ann")
        await made(client, "vision")
        await joined(client, "ann")
        answer = await client.post(
            SCHEDULES, json=NIGHTLY, params={"project": "vision"}, headers=ann
        )
        schedule_id = answer.json()["id"]
        await client.post(f"{SCHEDULES}/{schedule_id}/pause")
        runs = [await trigger(client, schedule_id), await trigger(client, schedule_id)]
        for run in runs:
            job = (await client.get(f"{JOBS}/{run.made}")).json()
            assert (job["owner"], job["project"]) == ("ann", "vision")
        page = (await client.get(f"{SCHEDULES}/{schedule_id}/runs?limit=1", headers=ann)).json()
        assert [each["made"] for each in page["items"]] == [runs[1].made]
        rest = await client.get(f"{SCHEDULES}/{schedule_id}/runs?cursor={page['next_cursor']}")
        assert [each["made"] for each in rest.json()["items"]] == [runs[0].made]

    async def test_an_owner_without_rights_pauses_it_with_the_reason(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        ann = await someone(client, "ann")
        answer = await client.post(SCHEDULES, json=NIGHTLY, headers=ann)
        path = f"{SCHEDULES}/{answer.json()['id']}"
        await client.patch("/api/v1/users/ann", json={"active": False})
        answer = await client.post(f"{path}/trigger")
        problem = check_problem(answer, 409, "conflict")
        assert "switched off" in problem.detail
        view = ScheduleView.model_validate_json((await client.get(path)).content)
        assert view.paused
        assert "switched off" in view.pause_reason
        (run,) = (await client.get(f"{path}/runs")).json()["items"]
        assert (run["state"], run["made"]) == ("refused", None)
        await client.patch("/api/v1/users/ann", json={"active": True, "role": "viewer"})
        await client.post(f"{path}/resume")
        answer = await client.post(f"{path}/trigger")
        assert "jobs.submit" in check_problem(answer, 409, "conflict").detail
        assert len(await commands(database)) == 4

    async def test_a_template_that_is_gone_pauses_it(self, client: httpx.AsyncClient) -> None:
        stored = await template(client)
        view = await schedule(client, job=None, template="greet", params={"who": "ann"})
        await client.delete(f"{TEMPLATES}/{stored.id}")
        answer = await client.post(f"{SCHEDULES}/{view.id}/trigger")
        check_problem(answer, 409, "conflict")
        assert "no template" in (await client.get(f"{SCHEDULES}/{view.id}")).json()["pause_reason"]

    async def test_backfill_is_written_down(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        view = await schedule(client, cron="0 * * * *")
        now = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
        end = now - timedelta(hours=1)
        span = {"start": (end - timedelta(hours=5)).isoformat(), "end": end.isoformat()}
        path = f"{SCHEDULES}/{view.id}/backfill"
        answer = await client.post(path, json=span)
        assert (answer.status_code, answer.json()) == (202, {"count": 5})
        assert await commands(database) == [("schedule", view.id), ("backfill", view.id)]
        for wrong, field in (
            ({**span, "end": "2199-01-01T00:00:00Z"}, "end"),
            ({**span, "start": "2001-01-01T00:00:00Z"}, "start"),
            ({"start": span["end"], "end": span["start"]}, "end"),
        ):
            problem = check_problem(await client.post(path, json=wrong), 422, "invalid_request")
            assert [error.field for error in problem.errors] == [field]
