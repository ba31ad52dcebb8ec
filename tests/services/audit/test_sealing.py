"""Whoever runs seals what was written, also by others, and goes on after trouble."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from cortex.db.engine import Database
from cortex.domain.rights import Principal, Role
from cortex.services.audit.sealing import Sealer, seal_pending
from tests.support import eventually

ANN = Principal(name="ann", role=Role.ADMIN)


async def add(database: Database, count: int) -> None:
    async with database.transaction() as tx:
        for number in range(count):
            await tx.audit.add(ANN, "job.cancel", f"job-{number}")


async def sealed(database: Database, count: int) -> None:
    async def all_of_them() -> bool:
        async with database.reading() as tx:
            return (await tx.audit.head()).seq == count

    await eventually(all_of_them)


async def test_two_of_them_and_what_comes_later(database: Database) -> None:
    await add(database, 5)
    sealers = [Sealer(database, every=0.01) for _ in range(2)]
    for sealer in sealers:
        await sealer.start()
    await sealed(database, 5)
    await add(database, 3)
    await sealed(database, 8)
    for sealer in sealers:
        await sealer.aclose()
    await add(database, 1)
    async with database.reading() as tx:
        assert await tx.audit.any_pending()


async def execute(database: Database, *statements: str) -> None:
    async with database.transaction() as tx:
        for statement in statements:
            await tx.connection.execute(text(statement))


async def test_trouble_is_logged_and_not_the_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a seal with the greatest number, by whoever switched the triggers off."""
    monkeypatch.setattr("cortex.services.audit.sealing._RETRY", 0.01)
    await add(database, 2)
    await execute(
        database,
        "ALTER TABLE audit_chain DISABLE TRIGGER USER",
        f"INSERT INTO audit_chain (seq, audit_id, hash) VALUES ({2**63 - 1}, 1, 'x')",
    )
    with pytest.raises(DBAPIError):
        await seal_pending(database)
    sealer = Sealer(database, every=0.01)
    with capture_logs() as logs:
        await sealer.start()

        async def told() -> bool:
            return any(line["event"] == "audit.sealing_failed" for line in logs)

        await eventually(told)
    await execute(
        database,
        "DELETE FROM audit_chain",
        "ALTER TABLE audit_chain ENABLE TRIGGER USER",
    )
    await sealed(database, 2)
    await sealer.aclose()
