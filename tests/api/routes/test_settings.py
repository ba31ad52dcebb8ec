"""Settings are changed while Cortex runs: checked, kept with their history, taken up by all."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.settings import Settings
from tests.api.groups import GROUPS, group
from tests.api.support import JOBS, check_problem, client_of, spec, submit
from tests.support import eventually

SETTINGS = "/api/v1/settings"


async def put(client: httpx.AsyncClient, comment: str = "", **values: Any) -> dict[str, Any]:
    """Set some; two underscores stand for the dot."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    body = {"values": named, "comment": comment or None}
    answer = await client.patch(SETTINGS, json=body)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


def item(view: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in view["items"] if each["name"] == name)


class TestValues:
    async def test_what_holds_and_where_it_is_from(self, client: httpx.AsyncClient) -> None:
        view = (await client.get(SETTINGS)).json()
        assert view["version"] == 0
        assert {each["origin"] for each in view["items"]} == {"start"}
        assert all(each["description"] for each in view["items"])
        limit = item(view, "jobs.max_duration")
        assert (limit["value"], limit["at_start"]) == ("30d", "30d")

        view = await put(client, jobs__max_duration="90m", api__requests_per_minute="600")
        limit = item(view, "jobs.max_duration")
        assert (limit["value"], limit["at_start"], limit["origin"]) == ("1h30m", "30d", "runtime")
        assert item(view, "api.requests_per_minute")["value"] == 600
        assert (await client.get(SETTINGS)).json() == view

        view = await put(client, jobs__max_duration=None)
        assert item(view, "jobs.max_duration")["origin"] == "start"
        assert item(view, "api.requests_per_minute")["origin"] == "runtime"

    @pytest.mark.parametrize(
        ("values", "field", "words"),
        [
            ({"jobs.max_durations": "1h"}, "jobs.max_durations", "is no setting"),
            ({"database.url": "postgresql://x"}, "database.url", "needs a restart"),
            ({"jobs.max_duration": "soon"}, "jobs.max_duration", "duration"),
            ({"api.requests_per_minute": -1}, "api.requests_per_minute", "0"),
            ({"telemetry.log_level": "LOUD"}, "telemetry.log_level", "DEBUG"),
            ({"jobs.accept": "perhaps"}, "jobs.accept", "`true` or `false`"),
            ({"__dict__": 1}, "__dict__", "is no setting"),
            ({"encryption_keys": "x"}, "encryption_keys", "needs a restart"),
            ({"plugins.email": "x"}, "plugins.email", "needs a restart"),
            ({"logs.retention": "0s"}, "logs.retention", "1"),
            ({"api.max_sockets": 10**23}, "api.max_sockets", "1000000"),
            ({"webhooks.longest_wait": "1s"}, "webhooks", "`longest_wait` must not be less"),
            ({"jobs.accept": {"a": [1]}}, "values.jobs.accept", "must be true, false"),
            ({"webhooks.at_once": 1.5}, "values.webhooks.at_once", "must be true, false"),
            ({"jobs.accept": ""}, "values.jobs.accept", "1 to 100 characters"),
            ({"jobs.": 1}, "jobs.", "is no setting"),
            ({"nothing.here": None}, "nothing.here", "is no setting"),
        ],
    )
    async def test_what_is_wrong_is_named_and_changes_nothing(
        self, client: httpx.AsyncClient, values: dict[str, Any], field: str, words: str
    ) -> None:
        body = {"values": {"logs.retention": "7d", **values}}
        problem = check_problem(await client.patch(SETTINGS, json=body), 422, "invalid_request")
        (error,) = problem.errors
        assert error.field == field
        assert words in error.message
        assert (await client.get(SETTINGS)).json()["version"] == 0

    async def test_nobody_undoes_what_was_not_seen(self, client: httpx.AsyncClient) -> None:
        tag = (await client.get(SETTINGS)).headers["etag"]
        await put(client, logs__retention="7d")
        body = {"values": {"logs.retention": "9d"}}
        late = await client.patch(SETTINGS, json=body, headers={"if-match": tag})
        check_problem(late, 412, "precondition_failed")
        now = (await client.get(SETTINGS)).headers["etag"]
        again = await client.patch(SETTINGS, json=body, headers={"if-match": now})
        assert again.status_code == 200
        same = await client.get(SETTINGS, headers={"if-none-match": again.headers["etag"]})
        assert same.status_code == 304

    async def test_many_at_once_are_all_kept(self, client: httpx.AsyncClient) -> None:
        await asyncio.gather(*(put(client, logs__retention=f"{days}d") for days in range(1, 9)))
        page = (await client.get(f"{SETTINGS}/history")).json()
        assert [each["version"] for each in page["items"]] == list(range(8, 0, -1))


class TestHistory:
    async def test_who_set_what_and_back_again(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await put(client, "too many logs", logs__retention="7d")
        await put(client, logs__retention="7d")  # the same: no new version
        await put(client, logs__retention="3d", webhooks__at_once=4)
        page = (await client.get(f"{SETTINGS}/history", params={"limit": 1})).json()
        (newest,) = page["items"]
        assert newest["values"] == {"logs.retention": "3d", "webhooks.at_once": 4}
        assert newest["changed_by"] == "local"
        older = await client.get(f"{SETTINGS}/history", params={"before": page["next_before"]})
        (first,) = older.json()["items"]
        assert (first["version"], first["comment"]) == (1, "too many logs")

        back = await client.post(f"{SETTINGS}/rollback", json={"version": 1})
        assert back.json()["version"] == 3
        assert item(back.json(), "logs.retention")["value"] == "7d"
        assert item(back.json(), "webhooks.at_once")["origin"] == "start"
        nothing = await client.post(f"{SETTINGS}/rollback", json={"version": 0})
        assert {each["origin"] for each in nothing.json()["items"]} == {"start"}
        check_problem(
            await client.post(f"{SETTINGS}/rollback", json={"version": 9}), 404, "not_found"
        )
        async with database.reading() as tx:
            rows = await tx.connection.execute(
                text("SELECT action, data FROM audit_log ORDER BY id")
            )
            entries = [(row.action, row.data) for row in rows]
        assert [action for action, _ in entries] == ["settings.change"] * 2 + [
            "settings.roll-back"
        ] * 2
        assert entries[1][1]["before"] == {"logs.retention": "7d"}
        assert entries[2][1]["comment"] == "back to version 1"


class TestTakenUp:
    async def test_by_every_process_within_a_moment(
        self, settings: Settings, client: httpx.AsyncClient
    ) -> None:
        other = settings.model_copy(update={"api": settings.api.model_copy()})
        async with client_of(other) as elsewhere:
            await put(client, api__requests_per_minute=100000)

            async def limited() -> bool:
                return "ratelimit" in (await elsewhere.get("/api/v1/info")).headers

            await eventually(limited, what="the other process limits requests")
            await put(client, api__requests_per_minute=None)

            async def free() -> bool:
                return not await limited()

            await eventually(free, what="it does so no longer")

    async def test_by_one_that_is_started_later(
        self, settings: Settings, client: httpx.AsyncClient
    ) -> None:
        await put(client, jobs__accept=False)
        late = settings.model_copy(update={"jobs": type(settings.jobs)()})
        async with client_of(late) as elsewhere:

            async def refused() -> bool:
                return (await elsewhere.post(JOBS, json=spec())).status_code == 503

            await eventually(refused, what="it takes no jobs")

    async def test_by_one_that_was_there_before_the_table(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        await put(client, jobs__accept=False)

        async def rename(old: str, new: str) -> None:
            async with database.transaction() as tx:
                await tx.connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

        await rename("settings_versions", "elsewhere")
        early = settings.model_copy(update={"jobs": type(settings.jobs)()})
        async with client_of(early) as late:
            assert (await late.post(JOBS, json=spec())).status_code == 202
            await rename("elsewhere", "settings_versions")

            async def refused() -> bool:
                return (await late.post(JOBS, json=spec())).status_code == 503

            await eventually(refused, what="it takes no jobs")

    async def test_no_new_jobs_while_those_that_were_taken_are_still_answered(
        self, client: httpx.AsyncClient
    ) -> None:
        job = await submit(client)
        keyed = {"idempotency-key": "one"}
        first = await client.post(JOBS, json=spec(), headers=keyed)
        await put(client, jobs__accept=False)

        async def refused() -> bool:
            return (await client.post(JOBS, json=spec())).status_code == 503

        await eventually(refused, what="jobs are refused")
        for answer in (
            await client.post(JOBS, json=spec()),
            await client.post(JOBS, json=spec(), headers={"idempotency-key": "two"}),
            await client.post(f"{JOBS}/batch", json={"jobs": [spec()]}),
            await client.post(GROUPS, json=group()),
        ):
            check_problem(answer, 503, "submissions_paused")
            assert int(answer.headers["retry-after"]) > 0
        again = await client.post(JOBS, json=spec(), headers=keyed)
        assert again.json()["id"] == first.json()["id"]
        assert (await client.get(f"{JOBS}/{job}")).status_code == 200
        assert (await client.post(f"{JOBS}/validate", json=spec())).status_code == 200
        await put(client, jobs__accept=None)

        async def taken() -> bool:
            return (await client.post(JOBS, json=spec())).status_code == 202

        await eventually(taken, what="jobs are taken again")
