"""Boundaries: before and after every statement, commit and provider call.

What happens there is a `Fault`: the worker dies, the answer is lost, the worker stalls while
another takes over, or somebody else (API, monitor) acts just then.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from cortex.db.direct import Direct
from cortex.db.engine import Database, Reading, Statement, Transaction
from cortex.domain.errors import DatabaseUnavailable
from providers.errors import OutcomeUnknown
from providers.registry import AnyProvider

T = TypeVar("T")
Kind = Literal["crash", "cancelled", "database", "unknown", "stall", "act"]
Part = Literal["database", "network"]
_GIVE_WAY = 0.05
"""How long a step waits for somebody who acts at its boundary and may need its lock."""


class Crash(BaseException):
    """The worker is gone: no `except Exception` may see it."""


@dataclass
class Fault:
    """What happens at the boundary number `at`, once."""

    kind: Kind = "crash"
    at: int = -1
    where: str = ""
    """In place of a number: the first boundary that is called so."""
    act: Callable[[], Awaitable[None]] | None = None
    resume_after: int = 1
    """Of a stalled step: it goes on when so many other steps have ended."""
    count: int = 0
    fired: str = ""
    points: list[str] = field(default_factory=list)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)
    acting: "asyncio.Task[None] | None" = None

    async def boundary(self, where: str, part: Part, *, locked: bool = False) -> None:
        """Pass a boundary of the database or the network; `locked`: inside of a transaction."""
        number, self.count = self.count, self.count + 1
        self.points.append(where)
        if self.fired or (number != self.at and where != self.where):
            return
        if self.kind == "unknown" and where not in ("after prepare()", "after commit()"):
            return
        # PostgreSQL ends a transaction that stalls, and other workers go on.
        if (self.kind == "stall" and locked) or (self.kind == "database" and part != "database"):
            return
        self.fired = where
        await self._happen(where)

    async def _happen(self, where: str) -> None:
        if self.kind == "crash":
            raise Crash(where)
        if self.kind == "cancelled":
            raise asyncio.CancelledError(where)
        if self.kind == "database":
            raise DatabaseUnavailable(f"lost {where}")
        if self.kind == "unknown":
            raise OutcomeUnknown(f"lost {where}")
        if self.kind == "stall":
            self.stalled.set()
            await self.resume.wait()
        if self.kind == "act" and self.act is not None:
            self.acting = asyncio.create_task(self._acting(self.act))
            await asyncio.wait({self.acting}, timeout=_GIVE_WAY)

    async def _acting(self, act: Callable[[], Awaitable[None]]) -> None:
        await act()


class _Connection:
    """A connection with a boundary on both sides of every statement."""

    def __init__(self, real: Any, fault: Fault, *, locked: bool) -> None:
        self.real = real
        self.sync_connection = real.sync_connection
        self._fault = fault
        self._locked = locked

    async def execute(self, statement: Any, *values: Any) -> Any:
        return await self.around(statement, lambda: self.real.execute(statement, *values))

    async def around(self, statement: Any, execute: Callable[[], Awaitable[T]]) -> T:
        name = " ".join(str(statement).split())[:60]
        await self._fault.boundary(f"before {name}", "database", locked=self._locked)
        result = await execute()
        await self._fault.boundary(f"after {name}", "database", locked=self._locked)
        return result


_executed = Direct._executed


async def _around(direct: Direct, connection: Any, *asked: Any) -> Any:
    if not isinstance(connection, _Connection):
        return await _executed(direct, connection, *asked)
    real = connection.real
    return await connection.around(direct.statement, lambda: _executed(direct, real, *asked))


# These go to the driver by themselves, past the connection's own `execute`.
Direct._executed = _around  # type: ignore[method-assign, assignment]


class FaultyDatabase:
    """The real database, with boundaries."""

    def __init__(self, real: Database, fault: Fault) -> None:
        self._real = real
        self._fault = fault

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._real.transaction() as tx:
            yield Transaction(_Connection(tx.connection, self._fault, locked=True))  # type: ignore[arg-type]
            await self._fault.boundary("before commit", "database", locked=True)
        await self._fault.boundary("after commit", "database")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        async with self._real.reading() as tx:
            yield Reading(_Connection(tx.connection, self._fault, locked=False))  # type: ignore[arg-type]

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Statement]:
        async with self._real.statement() as tx:
            yield Statement(_Connection(tx.connection, self._fault, locked=False))  # type: ignore[arg-type]


class FaultyProvider:
    """A provider with a boundary on both sides of every call."""

    def __init__(self, real: AnyProvider, fault: Fault) -> None:
        self._real = real
        self._fault = fault
        self.id = real.id

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._real, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._fault.boundary(f"before {name}()", "network")
            result = await attribute(*args, **kwargs)
            await self._fault.boundary(f"after {name}()", "network")
            return result

        return call
