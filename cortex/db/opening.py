"""Connections that are made, although whoever wanted them went away meanwhile.

SQLAlchemy does not close a connection whose making is cancelled: it stays half open until it is
collected. The server waits a minute for it to say who it is (`authentication_timeout`), and who
drops a database meanwhile waits along.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

from cortex.tasks import end_tasks

_PATIENCE = 1.0
"""Seconds that `aclose` gives what is being made."""


class Opener:
    """Hands out connections of engines."""

    def __init__(self) -> None:
        self._left: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """One, as `engine.connect()` gives it."""
        connection = engine.connect()
        pool = engine.pool
        if isinstance(pool, QueuePool) and pool.checkedin():
            await connection.start()  # there is one: nothing to wait for
        else:
            await self._made(connection)
        try:
            yield connection
        finally:
            await asyncio.shield(asyncio.ensure_future(connection.close()))

    async def aclose(self) -> None:
        """Until none is being made any more."""
        if self._left:
            await asyncio.wait(self._left, timeout=_PATIENCE)
        await end_tasks(self._left)

    async def _made(self, connection: AsyncConnection) -> None:
        making = asyncio.ensure_future(connection.start())
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:
            task = asyncio.create_task(_closed(connection, making))
            self._left.add(task)
            task.add_done_callback(self._left.discard)
            raise


async def _closed(connection: AsyncConnection, making: "asyncio.Future[AsyncConnection]") -> None:
    with suppress(Exception):
        await making
        await connection.invalidate()  # not back to the pool, which may be closed by then
        await connection.close()
