"""Fault points of the database: before and after every commit that writes.

Only for processes in which `cortex.faultpoints` is active; otherwise nothing of this is called.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cortex import faultpoints
from cortex.db.statements import written_by

_NAMES: Final = "faultpoints"
_LONGEST: Final = 120


class _HasConnection(Protocol):
    connection: AsyncConnection


T = TypeVar("T", bound=_HasConnection)


def watch_writes(engine: AsyncEngine) -> None:
    """Pass a boundary around every statement that commits on its own, and note all others."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def before(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        name = written_by(statement)
        if name:
            about_to_write(connection, name)

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def after(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        name = written_by(statement)
        if name:
            has_written(connection, name, statement, cursor.rowcount)


def about_to_write(connection: Connection, name: str) -> None:
    """A statement that writes what `name` says (`written_by`) is about to be sent."""
    if _alone(connection):
        faultpoints.passed("commit", f"before {name}")


def has_written(connection: Connection, name: str, statement: str, rowcount: int) -> None:
    """It was carried out; of a transaction it is noted, unless it surely changed nothing."""
    if _alone(connection):
        faultpoints.passed("commit", f"after {name}")
    elif rowcount != 0 or statement.lstrip().startswith("WITH"):
        connection.info.setdefault(_NAMES, []).append(name)


@asynccontextmanager
async def bounded(opening: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """A transaction with a boundary before and after its commit, if it has written anything."""
    name = ""
    async with opening as tx:
        info = (await tx.connection.get_raw_connection()).info
        info.pop(_NAMES, None)
        yield tx
        name = "; ".join(dict.fromkeys(info.pop(_NAMES, [])))[:_LONGEST]
        if name:
            faultpoints.passed("commit", f"before {name}")
    if name:
        faultpoints.passed("commit", f"after {name}")


def _alone(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")
