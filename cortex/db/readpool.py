"""Connections for single reads, without SQLAlchemy in between: lists and gets are asked often.

Every statement stands alone (autocommit), so a broken connection only means asking again.
"""

import asyncio
from typing import Any, Final

import psycopg
from psycopg.abc import Params

from cortex.db import session_options
from cortex.domain.errors import DatabaseUnavailable
from cortex.settings import DatabaseSettings
from cortex.tasks import apart

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_SIZE: Final = 6
_OPTIONS: Final = (
    f"{session_options.ALL} -c statement_timeout=30000 -c default_transaction_read_only=on"
)


class ReadPool:
    """A few connections, opened when they are needed."""

    def __init__(self, settings: DatabaseSettings, *, application: str) -> None:
        self._settings = settings
        self._application = application
        self._places = asyncio.Semaphore(_SIZE)
        self._idle: dict[bool, list[Connection]] = {False: [], True: []}

    async def fetch(
        self, statement: bytes, params: Params, *, plan_anew: bool = False
    ) -> list[tuple[Any, ...]]:
        """The rows of a SELECT.

        Args:
            statement: With `%s` for each parameter.
            params: Their values.
            plan_anew: Plan it for these very values, each time. Otherwise PostgreSQL soon keeps one
                plan for all, which is cheaper, and can be a thousand times slower for a value
                that few rows have.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot be reached, or broke off.
        """
        await self._enter()
        try:
            return await self._fetch(statement, params, plan_anew)
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DatabaseUnavailable(f"PostgreSQL does not answer: {first[:300]}") from error
        finally:
            self._places.release()

    async def aclose(self) -> None:
        """Close what is open."""
        for idle in self._idle.values():
            while idle:
                await idle.pop().close()

    async def _enter(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                await self._places.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("PostgreSQL is busy: no connection became free") from None

    async def _fetch(
        self, statement: bytes, params: Params, plan_anew: bool
    ) -> list[tuple[Any, ...]]:
        idle = self._idle[plan_anew]
        while idle:
            connection = idle.pop()
            try:
                rows = await self._ask(connection, statement, params)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not connection.broken:
                    raise
            else:
                idle.append(connection)
                return rows
        connection = await self._connect(plan_anew)
        rows = await self._ask(connection, statement, params)
        idle.append(connection)
        return rows

    async def _ask(
        self, connection: Connection, statement: bytes, params: Params
    ) -> list[tuple[Any, ...]]:
        try:
            cursor = await connection.execute(statement, params)
            rows = await cursor.fetchall()
        except BaseException:
            # Also when the reader went away: nobody knows what is still on its way.
            await connection.close()
            raise
        return rows

    async def _connect(self, plan_anew: bool) -> Connection:
        connecting = psycopg.AsyncConnection.connect(
            self._settings.url.get_secret_value(),
            autocommit=True,
            prepare_threshold=2,
            connect_timeout=max(2, int(self._settings.timeout.total_seconds())),
            application_name=self._application,
            options=f"{_OPTIONS} -c plan_cache_mode=force_custom_plan" if plan_anew else _OPTIONS,
        )
        return await apart(connecting)  # below frames that a library may keep
