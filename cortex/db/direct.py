"""Statements of every step, straight to psycopg on the connection of a unit of work.

SQLAlchemy looks a statement up, switches to a greenlet and wraps its answer, each time anew: three
quarters of what such a statement costs this process. All else of it holds here too: its pool, the
transaction that the connection is in, its errors, the guard of single writes, the fault points.
"""

import asyncio
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import ClauseElement, Connection, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from cortex import faultpoints
from cortex.db.boundaries import about_to_write, has_written
from cortex.db.statements import note_write, written_by

Record = dict[str, Any]
"""One row, by the names of its columns."""

Cursor = psycopg.AsyncCursor[Record]

_CURSOR: Final = "cortex_cursor"
_DIALECT: Final = make_url("postgresql+psycopg://").get_dialect()()
_ANYTHING: Final = text("SELECT 1")


class Direct:
    """One statement, translated once. Its parameters are those that `statement` names."""

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement
        self.sql = str(statement.compile(dialect=_DIALECT))
        self._writes = written_by(self.sql)

    async def all(self, connection: AsyncConnection, values: Record) -> list[Record]:
        """Execute it; its rows.

        Raises:
            DBAPIError: as SQLAlchemy would.
            RuntimeError: it would commit apart from an earlier write (`Database.statement`).
        """
        within = connection.sync_connection
        if within is None:
            raise RuntimeError("the connection is not open")
        if self._writes:
            note_write(within, self._writes)
            if faultpoints.active is not None:
                about_to_write(within, self._writes)
        rows, count = await self._executed(connection, _cursor(within), values)
        if self._writes and faultpoints.active is not None:
            has_written(within, self._writes, self.sql, count)
        return rows

    async def first(self, connection: AsyncConnection, values: Record) -> Record | None:
        """Execute it; its first row, if there is one. Raises what `all` raises."""
        rows = await self.all(connection, values)
        return rows[0] if rows else None

    async def scalar(self, connection: AsyncConnection, values: Record) -> Any:
        """Execute it; the first column of its only row. Raises what `all` raises."""
        (row,) = await self.all(connection, values)
        return next(iter(row.values()))

    async def run(self, connection: AsyncConnection, values: Record) -> None:
        """Execute it, whatever it answers. Raises what `all` raises."""
        await self.all(connection, values)

    async def _executed(
        self,
        connection: AsyncConnection,
        cursor: Cursor,
        values: Record,
    ) -> tuple[list[Record], int]:
        try:
            await cursor.execute(self.sql.encode(), values)
            rows = await cursor.fetchall() if cursor.rownumber is not None else []
            return rows, cursor.rowcount
        except psycopg.Error as error:
            lost = cursor.connection.closed
            if lost:
                await _give_up(connection)
            raise DBAPIError.instance(
                self.sql, None, error, psycopg.Error, connection_invalidated=lost
            ) from error
        except asyncio.CancelledError as error:  # nobody knows what is still on its way
            await connection.invalidate(error)
            raise


def _cursor(within: Connection) -> Cursor:
    """The cursor for all that is executed here on a connection: a new one costs as much as that."""
    cursor: Cursor | None = within.info.get(_CURSOR)
    if cursor is None:
        driver: psycopg.AsyncConnection[Any] | None = within.connection.driver_connection
        if driver is None:
            raise RuntimeError("the connection is not open")
        cursor = within.info[_CURSOR] = driver.cursor(row_factory=dict_row)
    return cursor


async def _give_up(connection: AsyncConnection) -> None:
    """Let SQLAlchemy see that the server broke off: it replaces this one and all in its pool."""
    try:
        await connection.execute(_ANYTHING)
    except DBAPIError:
        return
