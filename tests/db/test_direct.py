"""Statements straight to psycopg: they answer, commit, fail and are guarded as SQLAlchemy's."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from cortex import faultpoints
from cortex.db.direct import Direct
from cortex.db.engine import Database, Transaction
from cortex.db.jobs.repository import NewJob
from cortex.db.tables.jobs import JobRow
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from cortex.settings import DatabaseSettings
from tests.support import eventually, patience

DECLARE = Direct(text("INSERT INTO providers (id, type) VALUES (:id, 'null')"))
COUNT = Direct(text("SELECT count(*) AS n FROM providers WHERE id LIKE :like"))
SLEEP = Direct(text("SELECT pg_sleep(60)"))
SLEEPERS = Direct(
    text("""
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = :name AND wait_event = 'PgSleep'
""")
)
PID = Direct(text("SELECT pg_backend_pid() AS pid"))
OF_OTHERS = Direct(
    text("""
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()
""")
)


@pytest_asyncio.fixture
async def few(database: Database, database_url: str) -> AsyncIterator[Database]:
    """A pool of three connections, of the same database, by a name of its own."""
    settings = DatabaseSettings(url=SecretStr(database_url), pool_size=3)
    few = Database(settings, application="few")
    yield few
    await few.aclose()


async def count(database: Database, like: str = "%") -> int:
    async with database.reading() as tx:
        return int(await COUNT.scalar(tx.connection, {"like": like}))


async def sleeps(database: Database) -> bool:
    async with database.reading() as tx:
        return bool(await SLEEPERS.scalar(tx.connection, {"name": "few"}))


async def pids(database: Database) -> set[int]:
    """Of so many connections at once as the pool has."""
    together = asyncio.Barrier(3)

    async def one() -> int:
        async with database.statement() as tx:
            await together.wait()
            return int(await PID.scalar(tx.connection, {}))

    return set(await asyncio.gather(*(one() for _ in range(3))))


async def test_it_answers_as_sqlalchemy_does(database: Database) -> None:
    query = select(JobRow.__table__)
    spec = JobSpec.model_validate({"command": ["true"], "labels": {"a": "100%"}})
    async with database.statement() as tx:
        new = NewJob(new_id("job"), "ann", spec, b"\x00secret")
        await tx.acceptance.store([new], [spec.model_dump(mode="json")], delay=timedelta(0))
    async with database.reading() as tx:
        (row,) = (await tx.connection.execute(query)).mappings()
        assert await Direct(query).all(tx.connection, {}) == [dict(row)]


class TestWrites:
    async def test_they_commit_by_themselves(self, database: Database) -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with database.statement() as tx:
                await DECLARE.run(tx.connection, {"id": "p"})
                raise ZeroDivisionError
        assert await count(database) == 1

    async def test_a_second_one_is_refused(self, database: Database) -> None:
        async with database.statement() as tx:
            await DECLARE.run(tx.connection, {"id": "p"})
            with pytest.raises(RuntimeError, match="use a transaction"):
                await DECLARE.run(tx.connection, {"id": "q"})
            with pytest.raises(RuntimeError, match="use a transaction"):
                await tx.providers.declare("q", "null")
        async with database.statement() as tx:
            await tx.providers.declare("r", "null")
            with pytest.raises(RuntimeError, match="use a transaction"):
                await DECLARE.run(tx.connection, {"id": "q"})
        assert await count(database) == 2

    async def test_the_server_refuses_them_where_only_reads_are_allowed(
        self, database: Database
    ) -> None:
        async with database.reading() as tx:
            with pytest.raises(DBAPIError, match="read-only transaction"):
                await DECLARE.run(tx.connection, {"id": "p"})

    async def test_a_transaction_has_them_all_or_none(self, database: Database) -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with database.transaction() as tx:
                await DECLARE.run(tx.connection, {"id": "p"})
                await tx.providers.declare("q", "null")
                assert await COUNT.scalar(tx.connection, {"like": "%"}) == 2
                raise ZeroDivisionError
        assert await count(database) == 0
        async with database.transaction() as tx:
            await DECLARE.run(tx.connection, {"id": "p"})
            await DECLARE.run(tx.connection, {"id": "q"})
        assert await count(database) == 2


class TestErrors:
    async def test_what_the_server_refuses(self, database: Database) -> None:
        async with database.statement() as tx:
            await DECLARE.run(tx.connection, {"id": "p"})
        with pytest.raises(IntegrityError):
            async with database.statement() as tx:
                await DECLARE.run(tx.connection, {"id": "p"})
        with pytest.raises(ProgrammingError):
            async with database.reading() as tx:
                await Direct(text("SELECT nothing FROM providers")).run(tx.connection, {})
        assert await count(database) == 1

    async def test_a_server_that_broke_off_is_noticed_once(
        self, database: Database, few: Database
    ) -> None:
        before = await pids(few)
        async with database.transaction() as tx:
            assert await OF_OTHERS.scalar(tx.connection, {"name": "few"}) == 3
        with pytest.raises(DatabaseUnavailable, match="terminat|closed"):
            async with few.statement() as tx:
                await PID.run(tx.connection, {})
        # Its other connections are known to be gone as well.
        assert not await pids(few) & before

    async def test_in_a_transaction(self, database: Database, few: Database) -> None:
        async def break_off_between() -> None:
            async with few.transaction() as tx:
                await DECLARE.run(tx.connection, {"id": "p"})
                async with database.transaction() as other:
                    await OF_OTHERS.run(other.connection, {"name": "few"})
                await DECLARE.run(tx.connection, {"id": "q"})

        with pytest.raises(DatabaseUnavailable):
            await break_off_between()
        assert await count(few) == 0

    async def test_a_cancelled_one_leaves_no_connection_behind(self, few: Database) -> None:
        for _ in range(4):  # one more than the pool has
            asleep = asyncio.Event()

            async def sleep(tx: Transaction, asleep: asyncio.Event) -> None:
                asleep.set()
                await SLEEP.run(tx.connection, {})

            async def one(asleep: asyncio.Event) -> None:
                async with few.transaction() as tx:
                    await DECLARE.run(tx.connection, {"id": "p"})
                    await sleep(tx, asleep)

            task = asyncio.create_task(one(asleep))
            async with asyncio.timeout(patience(10)):
                await asleep.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        async with asyncio.timeout(patience(10)):
            assert len(await pids(few)) == 3
        assert await count(few) == 0

    async def test_one_whose_client_is_gone_soon_lets_go_of_what_it_locked(
        self, database: Database, few: Database
    ) -> None:
        """A request to cancel may come before the statement that it means, and is then lost."""

        async def hung_up_on(locked: asyncio.Event) -> None:
            async with few.transaction() as tx:
                await DECLARE.run(tx.connection, {"id": "p"})
                raw = await tx.connection.get_raw_connection()
                sleeping = asyncio.create_task(SLEEP.run(tx.connection, {}))
                await eventually(partial(sleeps, database), what="the statement runs")
                assert raw.driver_connection is not None
                with socket.socket(fileno=os.dup(raw.driver_connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)
                locked.set()
                await sleeping

        locked = asyncio.Event()
        holder = asyncio.create_task(hung_up_on(locked))
        async with asyncio.timeout(patience(10)):
            await locked.wait()
            async with database.statement() as tx:
                await DECLARE.run(tx.connection, {"id": "p"})
        with pytest.raises(DatabaseUnavailable):
            await holder


class TestFaultPoints:
    @pytest_asyncio.fixture
    async def watched(
        self, few: Database, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[tuple[Database, list[str]]]:
        passed: list[str] = []

        class Noting:
            def passed(self, kind: str, where: str) -> None:
                passed.append(f"{kind} {where}")

        monkeypatch.setattr(faultpoints, "active", Noting())
        database = Database(few.settings)
        yield database, passed
        await database.aclose()

    async def test_a_write_stands_between_two(self, watched: tuple[Database, list[str]]) -> None:
        database, passed = watched
        async with database.statement() as tx:
            await COUNT.run(tx.connection, {"like": "%"})
            assert passed == []
            await DECLARE.run(tx.connection, {"id": "p"})
        assert passed == ["commit before insert providers", "commit after insert providers"]

    async def test_a_transaction_names_those_that_changed_something(
        self, watched: tuple[Database, list[str]]
    ) -> None:
        database, passed = watched
        async with database.transaction() as tx:
            await DECLARE.run(tx.connection, {"id": "p"})
            await Direct(text("UPDATE jobs SET message = ''")).run(tx.connection, {})
            assert passed == []
        assert passed == ["commit before insert providers", "commit after insert providers"]
