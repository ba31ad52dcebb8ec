"""The three kinds of access: a read, one writing statement, a transaction."""

import contextlib
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cortex.db.base import Transacts
from cortex.db.engine import Database, Transaction
from cortex.db.jobs.repository import NewJob
from cortex.db.readpool import ReadPool
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState
from cortex.settings import DatabaseSettings

READ_ONLY = "read-only transaction"


async def accepted(database: Database) -> str:
    job_id, spec = new_id("job"), JobSpec(command=["true"])
    async with database.statement() as tx:
        stored = [spec.model_dump(mode="json")]
        await tx.acceptance.store([NewJob(job_id, "ann", spec)], stored, delay=timedelta(0))
    return job_id


async def state(database: Database, job_id: str) -> JobState:
    async with database.reading() as tx:
        return (await tx.jobs.get(job_id)).state


class TestReading:
    async def test_the_server_refuses_to_write(self, database: Database) -> None:
        job_id = await accepted(database)
        async with database.reading() as tx:
            disguised = Transaction(tx.connection)  # what mypy would refuse
            with pytest.raises(DBAPIError, match=READ_ONLY):
                await disguised.jobs.move(job_id, JobState.PLACING)
            with pytest.raises(DBAPIError, match=READ_ONLY):
                await disguised.providers.hold_open({"p"})
        assert await state(database, job_id) is JobState.PENDING

    async def test_the_pool_of_single_reads_refuses_as_well(
        self, database: Database, database_url: str
    ) -> None:
        pool = ReadPool(DatabaseSettings(url=SecretStr(database_url)), application="test")
        try:
            with pytest.raises(Exception, match=READ_ONLY):
                await pool.fetch(b"DELETE FROM events RETURNING id", ())
        finally:
            await pool.aclose()

    async def test_it_sees_what_was_committed_before(self, database: Database) -> None:
        job_id = await accepted(database)
        async with database.reading() as tx:
            async with database.transaction() as other:
                await other.jobs.move(job_id, JobState.PLACING)
            assert (await tx.jobs.get(job_id)).state is JobState.PLACING


class TestStatement:
    async def test_it_commits_by_itself(self, database: Database) -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with database.statement() as tx:
                await tx.providers.declare("p", "null")
                raise ZeroDivisionError
        async with database.reading() as tx:
            assert (await tx.providers.get("p")).type == "null"

    async def test_a_second_one_is_refused(self, database: Database) -> None:
        async with database.statement() as tx:
            await tx.providers.declare("p", "null")
            with pytest.raises(RuntimeError, match="use a transaction"):
                await tx.providers.declare("q", "null")
        async with database.statement() as tx:  # the same connection, handed out anew
            await tx.providers.declare("q", "null")
        async with database.reading() as tx:
            assert [provider.id for provider in await tx.providers.all()] == ["p", "q"]

    async def test_it_may_read_before_and_after(self, database: Database) -> None:
        async with database.statement() as tx:
            assert await tx.providers.all() == []
            await tx.providers.declare("p", "null")
            assert len(await tx.providers.all()) == 1


async def test_a_transaction_commits_all_or_nothing(database: Database) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            await tx.providers.declare("p", "null")
            await tx.providers.declare("q", "null")
            raise ZeroDivisionError
    async with database.reading() as tx:
        assert await tx.providers.all() == []
        assert (await tx.connection.execute(text("SELECT 1"))).scalar_one() == 1


async def _the_wrong_kind_does_not_type_check(database: Database) -> None:
    """Not run, but read by mypy: each `ignore` that nothing needs is an error of `make types`."""
    async with database.reading() as read:
        await read.leases.signalled("k", 1)  # type: ignore[misc]
        await read.jobs.lock("j")  # type: ignore[misc]
        await read.leases.get("k")
    async with database.statement() as one:
        await one.jobs.lock("j")  # type: ignore[misc]
        await one.leases.signalled("k", 1)
    async with database.transaction() as tx:
        await tx.jobs.lock("j")
        await tx.leases.signalled("k", 1)


def test_transacts_is_the_widest() -> None:
    assert [kind.__name__ for kind in Transacts.__mro__[:-1]] == ["Transacts", "Writes", "Reads"]
