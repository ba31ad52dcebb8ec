"""Cancelling many jobs by a filter."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cortex.db.engine import Database
from cortex.domain.rights import Role
from cortex.domain.states import JobState
from cortex.embedded.config import free_ports
from cortex.faultpoints import ALLOWED, PLAN
from cortex.schemas.bulk import BulkCancelView
from cortex.settings import Settings
from tests.api.routes.test_jobs import advance, commands_of
from tests.api.routes.test_projects import joined, made, someone
from tests.api.support import (
    AUTH,
    JOBS,
    KEY,
    NOWHERE,
    check_problem,
    client_of,
    spec,
    submit,
)
from tests.api.test_access import audited
from tests.api.test_main import live, start
from tests.support import patience

PATH = f"{JOBS}/cancel"
_CANCELLED = "after update jobs; insert events; insert commands; insert audit_log"


async def cancel(client: httpx.AsyncClient, query: str = "", **body: Any) -> BulkCancelView:
    key = body.pop("key", None)
    headers = {"idempotency-key": key} if key else {}
    answer = await client.post(f"{PATH}{query}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return BulkCancelView.model_validate_json(answer.content)


async def states(client: httpx.AsyncClient) -> dict[str, str]:
    page = (await client.get(f"{JOBS}?limit=500")).json()
    return {job["id"]: job["state"] for job in page["items"]}


class TestCancel:
    async def test_what_matches_and_nothing_else(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        blue = [await submit(client, labels={"team": "blue"}) for _ in range(3)]
        red = await submit(client, labels={"team": "red"})
        done = await cancel(client, "?label=team=blue", reason="wrong data")
        assert (done.dry_run, done.matched, done.cancelled, done.remaining) == (False, 3, 3, 0)
        assert set(done.jobs) == set(blue)
        assert done.skipped == ()
        assert await states(client) == dict.fromkeys(blue, "cancelling") | {red: "pending"}
        for job_id in blue:
            assert ("cancel", {"reason": "wrong data"}) in await commands_of(database, job_id)
        assert await audited(database) == [
            ("local", "job.cancel.many", "", "127.0.0.1"),
            *(("local", "job.cancel", job_id, "127.0.0.1") for job_id in blue),
        ]

    async def test_a_dry_run_changes_nothing(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        jobs = [await submit(client, name="a") for _ in range(2)]
        seen = await cancel(client, "?name=a", dry_run=True, key="k")
        assert (seen.dry_run, seen.matched, seen.cancelled, seen.jobs) == (True, 2, 2, ())
        assert await states(client) == dict.fromkeys(jobs, "pending")
        assert await audited(database) == []
        # And uses up no key.
        assert (await cancel(client, "?name=a", key="k")).cancelled == 2

    async def test_why_some_are_skipped(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        jobs = [await submit(client) for _ in range(5)]
        await advance(database, jobs[0], JobState.PLACING, JobState.SETTLING)
        await advance(database, jobs[1], JobState.PLACING, JobState.SETTLING, JobState.FAILED)
        await client.post(f"{JOBS}/{jobs[2]}/cancel")
        for dry in (True, False):
            told = await cancel(client, all=True, dry_run=dry)
            assert (told.matched, told.cancelled) == (5, 2)
            assert {each.reason.value: each.count for each in told.skipped} == {
                "cancelling": 1,
                "settling": 1,
                "ended": 1,
            }
        again = await cancel(client, all=True)
        assert (again.matched, again.cancelled) == (5, 0)

    async def test_every_filter_of_the_list(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client, name="one", labels={"a": "b"})
        for query in (
            "state=pending&state=running",
            "name=one",
            "label=a=b",
            "owner=local",
            "project=local",
            "created_after=1h",
        ):
            assert (await cancel(client, f"?{query}", dry_run=True)).matched == 1, query
        for query in (
            "state=running",
            "name=two",
            "label=a=c",
            "owner=ann",
            "provider=local",
            "group=grp_1",
            "created_before=1h",
        ):
            assert (await cancel(client, f"?{query}")).matched == 0, query
        answer = await client.post(f"{PATH}?project=nothing", json={})
        assert "no project `nothing`" in check_problem(answer, 404, "not_found").detail
        assert await states(client) == {job_id: "pending"}


class TestRefusals:
    async def test_an_empty_filter(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        for answer in (
            await client.post(PATH),
            await client.post(PATH, json={}),
            await client.post(PATH, json={"dry_run": True}),
            await client.post(PATH, json={"all": False}),
        ):
            problem = check_problem(answer, 422, "invalid_request")
            assert [error.field for error in problem.errors] == ["all"]
        assert await states(client) == {job_id: "pending"}

    async def test_a_filter_with_a_slip(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        for query, field in (("stat=running", "stat"), ("owner=local&labels=a=b", "labels")):
            answer = await client.post(f"{PATH}?{query}", json={"all": True})
            problem = check_problem(answer, 422, "invalid_request")
            assert [error.field for error in problem.errors] == [field]
            assert "created_after" in problem.detail
        assert await states(client) == {job_id: "pending"}

    async def test_bad_bodies(self, client: httpx.AsyncClient) -> None:
        for body in ({"dry_run": 1}, {"all": "true"}, {"reason": "x" * 501}, {"dryrun": True}):
            check_problem(await client.post(PATH, json=body), 422, "invalid_request")


class TestWhose:
    async def test_of_others_nothing_is_told(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        ann, bob, eve = [await someone(client, name) for name in ("ann", "bob", "eve")]
        await made(client)
        await joined(client, "ann", Role.OPERATOR)
        await joined(client, "bob", Role.DEVELOPER)
        await joined(client, "eve", Role.VIEWER)

        async def of(who: dict[str, str], project: str | None = None) -> str:
            params = {"project": project} if project else {}
            answer = await client.post(JOBS, json=spec(), headers=who, params=params)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["id"])

        anns, bobs = [await of(ann), await of(ann, "vision")], [await of(bob, "vision")]
        eves = [await of(eve)]
        body = {"all": True, "dry_run": True}
        for who, count in ((ann, 3), (bob, 1), (eve, 1), ({}, 4)):
            answer = await client.post(PATH, json=body, headers=who)
            assert answer.json()["matched"] == count
        # Also where they are named.
        answer = await client.post(f"{PATH}?owner=ann", json=body, headers=bob)
        assert answer.json()["matched"] == 0
        for project in ("ann", "eve", "nothing"):
            answer = await client.post(f"{PATH}?project={project}", json=body, headers=bob)
            problem = check_problem(answer, 404, "not_found")
            assert problem.detail == f"there is no project `{project}`"
        answer = await client.post(PATH, json={"all": True}, headers=bob)
        assert answer.json()["jobs"] == bobs
        assert await states(client) == dict.fromkeys(anns + eves, "pending") | {
            bobs[0]: "cancelling"
        }
        answer = await client.post(PATH, json={"all": True}, headers=ann)
        assert answer.json()["jobs"] == anns


class TestKeys:
    async def test_a_repeat_takes_none_that_came_since(self, client: httpx.AsyncClient) -> None:
        first = await submit(client)
        body = {"all": True}
        headers = {"idempotency-key": "k1"}
        answers = [await client.post(PATH, json=body, headers=headers)]
        second = await submit(client)
        answers.append(await client.post(PATH, json=body, headers=headers))
        views = [BulkCancelView.model_validate_json(answer.content) for answer in answers]
        assert [view.jobs for view in views] == [(first,), (first,)]
        assert [view.matched for view in views] == [1, 1]
        assert "idempotency-replayed" not in answers[0].headers
        assert answers[1].headers["idempotency-replayed"] == "true"
        assert await states(client) == {first: "cancelling", second: "pending"}

    async def test_the_same_key_for_another_request(self, client: httpx.AsyncClient) -> None:
        await submit(client)
        headers = {"idempotency-key": "k2"}
        assert (await client.post(f"{PATH}?name=a", json={}, headers=headers)).status_code == 200
        for query, body in (("?name=b", {}), ("?name=a", {"reason": "x"})):
            answer = await client.post(f"{PATH}{query}", json=body, headers=headers)
            check_problem(answer, 409, "idempotency_key_reused")

    async def test_many_are_done_in_several_calls(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cortex.services.jobs.bulk.MAX_CANCELS", 2)
        jobs = [await submit(client) for _ in range(5)]
        assert (await cancel(client, all=True, dry_run=True)).remaining == 3
        told = [await cancel(client, "?state=pending") for _ in range(3)]
        assert [view.cancelled for view in told] == [2, 2, 1]
        assert [view.remaining for view in told] == [3, 1, 0]
        assert [job_id for view in told for job_id in view.jobs] == jobs


@pytest.mark.parametrize("key", [None, "after-a-crash"])
async def test_a_crash_in_the_middle(
    settings: Settings, database: Database, providers: None, tmp_path: Path, key: str | None
) -> None:
    """What was decided is finished by the same request, at another process."""
    async with client_of(settings) as client:
        jobs = [await submit(client) for _ in range(4)]
        plan = tmp_path / "plan.json"
        where = {"kind": "commit", "where": _CANCELLED, "nth": 2}
        plan.write_text(json.dumps({"trace": str(tmp_path / "trace"), **where}))
        (port,) = free_ports(1)
        process = await start(
            CORTEX_DATABASE__URL=settings.database.url.get_secret_value(),
            CORTEX_TEMPORAL__ADDRESS=NOWHERE,
            CORTEX_API__KEY=KEY,
            CORTEX_API__PORT=str(port),
            CORTEX_DATA_DIR=str(tmp_path),
            CORTEX_ENCRYPTION_KEYS=settings.encryption_keys.get_secret_value(),  # type: ignore[union-attr]
            **{PLAN: str(plan), ALLOWED: "yes"},
        )
        headers = {"idempotency-key": key} if key else {}
        try:
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, headers=AUTH, trust_env=False) as other:
                await live(other)
                with pytest.raises(httpx.TransportError):
                    await other.post(PATH, json={"all": True}, headers=headers, timeout=60)
            async with asyncio.timeout(patience(20)):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        seen = (tmp_path / "trace").read_text()
        assert list((await states(client)).values()).count("cancelling") == 2, seen
        late = await submit(client)
        done = await cancel(client, all=True, key=key)
        after = await states(client)
        assert [after[job_id] for job_id in jobs] == ["cancelling"] * 4
        assert after[late] == ("pending" if key else "cancelling")
        assert done.cancelled == (4 if key else 3)
        for job_id in jobs:
            kinds = [kind for kind, _ in await commands_of(database, job_id)]
            assert kinds.count("cancel") == 1
