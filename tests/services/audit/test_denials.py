"""Denied attempts are written without waiting, and do not fill the disk."""

from collections.abc import Sequence

from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.rights import Principal, Role
from cortex.services.audit.denials import Attempt, Denials
from tests.support import eventually


def attempt(name: str = "ann", action: str = "jobs.resolve", path: str = "POST /x") -> Attempt:
    by = Principal(name=name, role=Role.VIEWER, source="192.0.2.1", request_id="r-1")
    return Attempt(by, action, path, "may not")


async def written(database: Database) -> Sequence[tuple[str, str, str, int]]:
    query = "SELECT actor, action, subject, data->'times' FROM audit_log ORDER BY id"
    async with database.reading() as tx:
        return [tuple(row) for row in await tx.connection.execute(text(query))]


async def test_the_first_at_once_and_the_rest_as_one(database: Database) -> None:
    denials = Denials(database)
    await denials.start()
    denials.note(attempt())

    async def first() -> bool:
        return len(await written(database)) == 1

    await eventually(first)
    for number in range(1000):
        denials.note(attempt(path=f"POST /x/{number}"))
    denials.note(attempt("bob"))

    async def both() -> bool:
        return len(await written(database)) == 2

    await eventually(both)
    await denials.aclose()
    assert await written(database) == [
        ("ann", "jobs.resolve", "POST /x", 1),
        ("bob", "jobs.resolve", "POST /x", 1),
        ("ann", "jobs.resolve", "POST /x/999", 1000),
    ]


async def test_a_window_ends(database: Database) -> None:
    denials = Denials(database, window=0.05)
    await denials.start()
    denials.note(attempt())
    denials.note(attempt())

    async def both() -> bool:
        return sum(times for *_, times in await written(database)) == 2

    await eventually(both)

    async def forgotten() -> bool:
        return not denials._kinds

    await eventually(forgotten)
    await denials.aclose()


async def test_of_too_many_kinds_the_rest_is_counted_together(database: Database) -> None:
    denials = Denials(database)
    for number in range(1010):
        denials.note(attempt(f"name-{number}"))
    await denials.start()
    await denials.aclose()
    rows = await written(database)
    assert len(rows) == 1001
    assert sum(times for *_, times in rows) == 1010
