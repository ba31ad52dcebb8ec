"""Commands: whom their rows wake, and in which order they are taken."""

from datetime import timedelta

import psycopg

from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.db.outbox.commands import CHANNEL
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from tests.support import patience


async def accepted(database: Database, *, delay: timedelta) -> str:
    job_id, spec = new_id("job"), JobSpec(command=["true"])
    async with database.statement() as tx:
        stored = [spec.model_dump(mode="json")]
        await tx.acceptance.store([NewJob(job_id, "ann", spec)], stored, delay=delay)
    return job_id


async def test_those_that_are_due_wake_the_relay_and_no_others(
    database: Database, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listening:
        await listening.execute(f"LISTEN {CHANNEL}".encode())
        due = await accepted(database, delay=timedelta(0))
        # Its writer delivers it: the relay looks by itself, some seconds later.
        await accepted(database, delay=timedelta(hours=1))
        async with database.transaction() as tx:
            await tx.commands.add(due, "extend")
        await listening.execute(f"NOTIFY {CHANNEL}, 'end'".encode())
        heard = []
        async for notice in listening.notifies(timeout=patience(10)):
            heard.append(notice.payload)
            if notice.payload == "end":
                break
    assert heard == ["", "", "end"]


async def test_the_oldest_of_each_job_is_taken_first(database: Database) -> None:
    lease = timedelta(minutes=1)
    late = await accepted(database, delay=timedelta(hours=1))
    jobs = [await accepted(database, delay=timedelta(0)) for _ in range(3)]
    async with database.transaction() as tx:
        for job_id in (*jobs, late):
            await tx.commands.add(job_id, "cancel", {"reason": "why"})
        first = await tx.commands.claim(2, lease)
        second = await tx.commands.claim(10, lease)
        assert [command.job_id for command in (*first, *second)] == jobs
        assert {(c.kind, c.attempts) for c in (*first, *second)} == {("start", 1)}
        assert await tx.commands.claim(10, lease) == []
        await tx.commands.done([command.id for command in first])
        (one, two) = await tx.commands.claim(10, lease)
    assert [one.job_id, two.job_id] == jobs[:2]
    assert (one.kind, one.payload, one.attempts) == ("cancel", {"reason": "why"}, 1)
