"""Whoever runs seals what was written, also by others, and goes on after trouble."""

from cortex.db.engine import Database
from cortex.domain.rights import Principal, Role
from cortex.services.audit.sealing import Sealer
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
