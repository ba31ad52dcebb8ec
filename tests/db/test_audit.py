"""The audit log in the database: only added to, noted at once, and sealed into a chain soon."""

import asyncio
import contextlib
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cortex.db.audit import AuditFilter
from cortex.db.engine import Database
from cortex.db.migrate import alembic_config
from cortex.domain.audit import Head, Outcome
from cortex.domain.rights import Principal, Role
from cortex.services.audit.queries import AuditLog
from cortex.services.audit.sealing import seal_pending

_TEXTS = ("actor", "credential", "action", "subject", "source", "request_id")
ANN = Principal(name="ann", role=Role.ADMIN, source="192.0.2.1", request_id="r-1")


async def add(database: Database, count: int = 1, *, seal: bool = True, **data: Any) -> None:
    for number in range(count):
        async with database.statement() as tx:
            await tx.audit.add(ANN, "job.cancel", f"job-{number}", **data)
    if seal:
        await seal_pending(database)


async def tampered(database: Database, *statements: str) -> None:
    """As somebody does who owns the tables and knows of the triggers."""
    async with database.transaction() as tx:
        for table in ("audit_log", "audit_chain", "audit_pending"):
            await tx.connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for statement in statements:
            await tx.connection.execute(text(statement))
        for table in ("audit_log", "audit_chain", "audit_pending"):
            await tx.connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


async def problems(database: Database, known: str | None = None) -> list[tuple[Any, ...]]:
    result = await AuditLog(database).verify(None if known is None else Head.parse(known))
    assert result.ok is not bool(result.problems)
    return [(problem.seq, problem.audit_id, problem.message) for problem in result.problems]


async def test_it_is_only_added_to(database: Database) -> None:
    await add(database)
    await add(database, seal=False)
    for table, column in (
        ("audit_log", "actor"),
        ("audit_chain", "hash"),
        ("audit_pending", "digest"),
    ):
        for statement in (
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
        ):
            with pytest.raises(DBAPIError, match="the audit log (is only added to|is noted)"):
                async with database.transaction() as tx:
                    await tx.connection.execute(text(statement))
    assert await problems(database) == []


class TestChain:
    async def test_each_entry_is_sealed(self, database: Database) -> None:
        await add(database, 3, reason='Grüße, \\u0041 "x" ☃', deep={"b": [1, 2.50], "a": None})
        result = await AuditLog(database).verify()
        assert (result.ok, result.entries, result.problems) == (True, 3, ())
        assert str(result.head).startswith("3:")

    async def test_of_a_change_that_was_undone_nothing_is_left(self, database: Database) -> None:
        await add(database)
        with contextlib.suppress(ZeroDivisionError):
            async with database.transaction() as tx:
                await tx.audit.add(ANN, "job.cancel", "x")
                raise ZeroDivisionError
        await add(database)
        result = await AuditLog(database).verify()
        assert (result.ok, result.entries, result.gaps) == (True, 2, 1)

    async def test_what_waits_is_no_problem(self, database: Database) -> None:
        await add(database, 2)
        await add(database, 3, seal=False)
        async with database.reading() as tx:
            assert await tx.audit.unsealed(limit=10) == []
            assert (await tx.audit.counts()).waiting == 3
            assert (await tx.audit.head()).seq == 2
        result = await AuditLog(database).verify()  # which seals them
        assert (result.ok, result.entries, result.waiting, result.gaps) == (True, 5, 0, 0)

    async def test_several_that_seal_at_once(self, database: Database) -> None:
        """While others write: each entry once, in one chain."""

        async def write() -> None:
            await add(database, 20, seal=False)

        async def seal() -> int:
            return sum([await seal_pending(database) for _ in range(10)])

        *_, first, second = await asyncio.gather(write(), write(), seal(), seal())
        assert first + second + await seal_pending(database) == 40
        result = await AuditLog(database).verify()
        assert (result.ok, result.entries, result.gaps) == (True, 40, 0)

    async def test_nobody_who_writes_waits_for_it(self, database: Database) -> None:
        await add(database, seal=False)
        async with database.transaction() as sealing:
            assert await sealing.audit.seal(most=10) == 1
            await add(database, seal=False)
        assert await seal_pending(database) == 1

    async def test_many_at_once(self, database: Database) -> None:
        """Each in a transaction of its own, which holds other locks in any order."""

        async def change(number: int) -> None:
            async with database.transaction() as tx:
                for _ in range(3):
                    await tx.audit.add(ANN, "job.cancel", f"job-{number}")
                lock = "SELECT pg_advisory_xact_lock(:key)"
                for key in sorted((number % 3, number % 4), key=lambda key: key * (-1) ** number):
                    await asyncio.sleep(0)
                    await tx.connection.execute(text(lock), {"key": key + 4 * (number % 2)})

        await asyncio.gather(*(change(number) for number in range(40)))
        result = await AuditLog(database).verify()
        assert (result.ok, result.entries) == (True, 120)


class TestTampering:
    async def test_a_changed_entry(self, database: Database) -> None:
        """Each column by itself; what comes behind it fits."""
        changes = (
            "created_at = created_at + interval '1 microsecond'",
            "outcome = 'denied'",
            "data = '{}'",
            *(f"{name} = 'x'" for name in _TEXTS),
        )
        await add(database, len(changes) + 1, reason="one")
        await tampered(
            database,
            *(f"UPDATE audit_log SET {each} WHERE id = {n}" for n, each in enumerate(changes, 1)),
        )
        assert await problems(database) == [
            (number, number, "the entry or its seal was changed")
            for number in range(1, len(changes) + 1)
        ]

    async def test_a_removed_entry(self, database: Database) -> None:
        await add(database, 3)
        await tampered(
            database,
            "ALTER TABLE audit_chain DROP CONSTRAINT audit_chain_audit_id_fkey",
            "DELETE FROM audit_log WHERE id = 2",
        )
        assert await problems(database) == [(2, 2, "the entry is gone")]

    async def test_removed_with_its_seal(self, database: Database) -> None:
        await add(database, 4)
        both = ("DELETE FROM audit_chain WHERE audit_id IN (2, 3)",)
        await tampered(database, *both, "DELETE FROM audit_log WHERE id IN (2, 3)")
        assert await problems(database) == [(2, None, "seals 2 to 3 are gone")]

    async def test_one_that_was_slipped_in(self, database: Database) -> None:
        await add(database, 2)
        await tampered(
            database, "INSERT INTO audit_log (actor, action, subject) VALUES ('x', 'y', 'z')"
        )
        assert await problems(database) == [(None, 3, "the entry has no seal")]

    async def test_the_end_that_was_cut_off(self, database: Database) -> None:
        await add(database, 3)
        head = (await AuditLog(database).verify()).head
        assert head is not None
        await add(database)
        assert await problems(database, head) == []
        await tampered(
            database,
            "DELETE FROM audit_chain WHERE seq >= 2",
            "DELETE FROM audit_log WHERE id >= 2",
        )
        assert await problems(database) == []  # by itself it cannot be told
        assert await problems(database, head) == [
            (2, None, "entries 2 to 3 of the chain: gone from its end")
        ]

    async def test_a_chain_that_was_made_anew(self, database: Database) -> None:
        await add(database, 3)
        head = (await AuditLog(database).verify()).head
        await tampered(
            database,
            "UPDATE audit_log SET actor = 'bob' WHERE id = 2",
            "UPDATE audit_chain c SET hash = audit_seal(a, (SELECT hash FROM audit_chain "
            "WHERE seq = 1)) FROM audit_log a WHERE c.seq = 2 AND a.id = 2",
        )
        await tampered(
            database,
            "UPDATE audit_chain c SET hash = audit_seal(a, (SELECT hash FROM audit_chain "
            "WHERE seq = 2)) FROM audit_log a WHERE c.seq = 3 AND a.id = 3",
        )
        assert await problems(database) == []
        assert await problems(database, head) == [
            (3, 3, "the seal is another than was known of it")
        ]


class TestByTheServersRole:
    """What somebody does with the rights of the server, triggers and all."""

    @staticmethod
    async def refused(database: Database, statement: str, why: str) -> None:
        with pytest.raises(DBAPIError, match=why):
            async with database.transaction() as tx:
                await tx.connection.execute(text(statement))

    @pytest.mark.parametrize(
        ("number", "entry", "seal"),
        [
            ("9223372036854775807", "3", "'x'"),
            ("2", "3", "'x'"),
            ("2", "3", "audit_seal(a, '')"),  # behind nothing, instead of the first
            ("3", "3", "audit_seal(a, (SELECT hash FROM audit_chain))"),
            ("0", "3", "audit_seal(a, (SELECT hash FROM audit_chain))"),
            ("-9223372036854775808", "3", "audit_seal(a, (SELECT hash FROM audit_chain))"),
            ("2", "1", "audit_seal(a, (SELECT hash FROM audit_chain))"),  # has its seal already
            ("2", "4711", "'x'"),
        ],
    )
    async def test_into_the_chain_comes_only_the_next_seal(
        self, database: Database, number: str, entry: str, seal: str
    ) -> None:
        await add(database)
        await add(database, 2, seal=False)
        insert = (
            f"INSERT INTO audit_chain (seq, audit_id, hash) SELECT {number}, {entry}, "
            f"{seal}::bytea FROM audit_log a WHERE a.id = least({entry}, 3)"
        )
        await self.refused(database, insert, "only the next seal")
        result = await AuditLog(database).verify()
        assert (result.ok, result.entries, result.waiting) == (True, 3, 0)

    async def test_whoever_seals_as_the_server_does_leaves_nothing_to_do(
        self, database: Database
    ) -> None:
        await add(database)
        await add(database, seal=False)
        async with database.transaction() as tx:
            insert = """INSERT INTO audit_chain (seq, audit_id, hash) SELECT 2, 2,
                audit_seal(a, (SELECT hash FROM audit_chain)) FROM audit_log a WHERE a.id = 2"""
            await tx.connection.execute(text(insert))
            assert not await tx.audit.any_pending()
        assert await problems(database) == []

    @pytest.mark.parametrize(
        ("entry", "digest"),
        [("999999", "'x'"), ("1", "'x'"), ("1", "audit_seal(a, '')")],
    )
    async def test_only_an_entry_is_noted(
        self, database: Database, entry: str, digest: str
    ) -> None:
        await add(database)
        insert = (
            f"INSERT INTO audit_pending SELECT {entry}, {digest}::bytea "
            "FROM audit_log a WHERE a.id = 1"
        )
        await self.refused(database, insert, "only an entry of the audit log is noted")
        assert await problems(database) == []

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("outcome", "'maybe'"),
            ("data", "'[1]'"),
            ("created_at", "'0044-03-15 BC'"),
            ("created_at", "'10000-01-01'"),
        ],
    )
    async def test_an_entry_that_nobody_could_read(
        self, database: Database, column: str, value: str
    ) -> None:
        insert = (
            f"INSERT INTO audit_log (actor, action, subject, {column}) "
            f"VALUES ('x', 'y', 'z', {value})"
        )
        await self.refused(database, insert, f"audit_log_{column}")


class TestOutsideOfTheChain:
    """Seals by whoever owns the tables, or from before there was a check of them."""

    async def test_the_greatest_number_there_is(self, database: Database) -> None:
        await add(database)
        await add(database, 2, seal=False)
        last = 2**63 - 1
        await tampered(
            database, f"INSERT INTO audit_chain (seq, audit_id, hash) VALUES ({last}, 2, 'x')"
        )
        result = await AuditLog(database).verify()
        assert [(each.seq, each.message) for each in result.problems] == [
            (None, "what waits cannot be sealed; the server's log says why"),
            (2, f"seals 2 to {last - 1} are gone"),
        ]
        assert (result.ok, result.head, result.waiting) == (False, None, 1)

    async def test_numbers_before_the_first(self, database: Database) -> None:
        await add(database, 3, seal=False)
        for number, entry in ((-(2**63), 1), (0, 2)):
            await tampered(
                database,
                f"INSERT INTO audit_chain (seq, audit_id, hash) VALUES ({number}, {entry}, 'x')",
            )
        message = "the chain starts with 1: no seal has this number"
        assert (await problems(database))[:2] == [(-(2**63), 1, message), (0, 2, message)]


class TestBeforeTheSeal:
    """What somebody does who owns the tables, in the seconds before an entry is sealed."""

    async def test_changed(self, database: Database) -> None:
        await add(database, 3, seal=False)
        await tampered(database, "UPDATE audit_log SET actor = 'bob' WHERE id = 2")
        assert await problems(database) == [(None, 2, "the entry was changed before it was sealed")]
        assert await seal_pending(database) == 0  # it never gets one
        await add(database)
        result = await AuditLog(database).verify()
        assert (result.ok, result.entries) == (False, 3)

    async def test_removed(self, database: Database) -> None:
        await add(database, 3, seal=False)
        await tampered(database, "DELETE FROM audit_log WHERE id = 2")
        assert await problems(database) == [(None, 2, "the entry is gone, before it was sealed")]

    async def test_removed_with_its_note_it_is_a_gap(self, database: Database) -> None:
        await add(database, 3, seal=False)
        both = ("DELETE FROM audit_log WHERE id = 2", "DELETE FROM audit_pending")
        await tampered(database, both[0], f"{both[1]} WHERE audit_id = 2")
        result = await AuditLog(database).verify()
        assert (result.ok, result.entries, result.gaps) == (True, 2, 1)

    async def test_a_note_alone(self, database: Database) -> None:
        await add(database, seal=False)
        await tampered(database, "DELETE FROM audit_pending")
        assert await problems(database) == [(None, 1, "the entry has no seal")]


async def test_what_was_sealed_at_each_commit_still_holds(database: Database) -> None:
    """Entries of before the change, with those of after in one chain."""
    async with database.transaction() as tx:
        await tx.connection.run_sync(lambda c: command.downgrade(alembic_config(c), "0034"))
    await add(database, 3, seal=False)
    async with database.reading() as tx:
        before = await tx.audit.head()
    assert before.seq == 3
    async with database.transaction() as tx:
        await tx.connection.run_sync(lambda c: command.upgrade(alembic_config(c), "head"))
    await add(database, 2)
    result = await AuditLog(database).verify(before)
    assert (result.ok, result.entries, result.gaps) == (True, 5, 0)


class TestPages:
    async def test_filters(self, database: Database) -> None:
        bob = Principal(name="bob", role=Role.VIEWER)
        await add(database, 2)
        async with database.statement() as tx:
            await tx.audit.add(bob, "jobs.resolve", "POST /x", outcome=Outcome.DENIED)

        async def ids(**wanted: Any) -> list[int]:
            async with database.reading() as tx:
                return [e.id for e in await tx.audit.page(AuditFilter(**wanted), limit=10)]

        assert await ids() == [3, 2, 1]
        assert await ids(actor="bob") == await ids(outcome=Outcome.DENIED) == [3]
        assert await ids(action="job.*") == await ids(request_id="r-1") == [2, 1]
        assert await ids(action="job.%") == await ids(action="job") == []
        assert await ids(subject="job-1") == [2]
        async with database.reading() as db:
            assert [e.id for e in await db.audit.page(AuditFilter(), before=3, limit=1)] == [2]
            assert [e.id for e in await db.audit.page(AuditFilter(), after=1, limit=5)] == [2, 3]
