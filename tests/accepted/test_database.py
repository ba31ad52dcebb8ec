"""A database of before is migrated, is read, and what was in flight in it goes on."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.jobs import Job
from cortex.security.keyring import KeyRing
from tests.accepted.then import KEYS, calls, differences, revision, scalar, tables
from tests.api.support import client_of
from tests.integration.conftest import Stage
from tests.support import eventually

_OURS = (".temporal", ".links", ".workflow_url", ".cost_so_far")
"""Where the Temporal of this test is, and what time alone changes."""


def last_answers(*begins: str) -> dict[str, Any]:
    """What that commit said last of each job and group before the rows were written down."""
    answers: dict[str, Any] = {}
    for call in calls():
        if call["method"] == "POST" and call["path"].endswith("/cancel"):
            # The last cancel comes after the rows.
            before = dict(answers)
        path = call["path"].partition("?")[0]
        if call["method"] == "GET" and path.startswith(begins) and path.count("/") == 4:
            answers[call["path"]] = call["answer"]
    return {path: answer for path, answer in before.items() if "id" in answer}


def submitted(key: str) -> dict[str, Any]:
    """The request with this idempotency key."""
    return next(call for call in calls() if call["headers"].get("idempotency-key") == key)


async def jobs_of(database: Database, ids: Iterable[str]) -> list[Job]:
    async with database.reading() as tx:
        return await tx.jobs.get_many(list(ids))


class TestRead:
    async def test_all_rows_are_there(self, database: Database) -> None:
        assert revision() == "0011"
        for table, _, rows in tables():
            kept = await scalar(database, f"SELECT count(*) FROM {table}")
            assert kept == len(rows.splitlines()), table

    async def test_jobs_and_groups_are_shown_as_they_were(self, stage: Stage) -> None:
        shown = last_answers("/api/v1/jobs/", "/api/v1/groups/")
        assert len(shown) >= 8
        async with client_of(stage.settings) as client:
            for path, old in shown.items():
                new = (await client.get(path)).json()
                changed = differences(old, new)
                assert [line for line in changed if not line.startswith(_OURS)] == [], path

    async def test_stored_specs_and_secrets_are_read(self, database: Database) -> None:
        async with database.reading() as tx:
            ids = (await tx.connection.execute(text("SELECT id FROM jobs"))).scalars().all()
        jobs = {job.id: job for job in await jobs_of(database, ids)}
        done = jobs[submitted("done-1")["answer"]["id"]]
        assert done.spec.labels == {"team": "red", "tier": "1"}
        assert done.spec.budget is not None
        assert done.spec.budget.amount == Decimal(3)
        secrets = await scalar(database, "SELECT secrets FROM jobs WHERE id = :id", id=done.id)
        keys = KeyRing.from_setting(KEYS)
        assert keys.decrypt(secrets, done.id) == {"TOKEN": "not-to-be-seen"}


class TestGoesOn:
    async def test_what_was_accepted_and_not_begun_is_done(self, stage: Stage) -> None:
        """Its commands lie in the outbox: today's worker delivers them."""
        late = submitted("pending-1")["answer"]["id"]
        group = next(
            call["answer"]["id"]
            for call in reversed(calls())
            if call["path"] == "/api/v1/groups" and call["method"] == "POST"
        )
        assert await scalar(stage.database, "SELECT state FROM jobs WHERE id = :id", id=late) == (
            "pending"
        )
        async with stage.worker():
            assert (await stage.ended(late)).state.value == "completed"

            async def group_ended() -> bool:
                query = "SELECT state FROM job_groups WHERE id = :id"
                return bool(await scalar(stage.database, query, id=group) == "completed")

            await eventually(group_ended, within=60, what="the end of the group")
        held = "SELECT count(*) FROM commands WHERE done_at IS NULL AND job_id = :id"
        assert await scalar(stage.database, held, id=late) == 0
        left = "SELECT sum(CASE kind WHEN 'hold' THEN amount ELSE -amount END) FROM ledger"
        assert await scalar(stage.database, f"{left} WHERE job_id = :id", id=late) == 0

    async def test_a_request_that_is_sent_again_makes_no_second_job(self, stage: Stage) -> None:
        await scalar_write(stage.database, "UPDATE idempotency_keys SET created_at = now()")
        before = await scalar(stage.database, "SELECT count(*) FROM jobs")
        async with client_of(stage.settings) as client:
            for key in ("done-1", "batch-1", "pending-1", "pipeline-1", "extend-1"):
                call = submitted(key)
                again = await client.post(
                    call["path"], content=call["body"], headers=call["headers"]
                )
                assert again.status_code == call["status"], again.text
                assert ids(again.json()) == ids(call["answer"])
        assert await scalar(stage.database, "SELECT count(*) FROM jobs") == before


def ids(answer: dict[str, Any]) -> list[str]:
    return [answer["id"]] if "id" in answer else [job["id"] for job in answer["jobs"]]


async def scalar_write(database: Database, statement: str) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(text(statement))
