"""Denied attempts: written down without holding up the answer, and without filling the disk.

The first of a kind (who, from where, what) is written at once; what follows within a minute is
counted, and written as one entry when the minute is over. Whoever tries a thousand keys a second
gets two entries a minute.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

import structlog

from cortex.db.engine import Database
from cortex.domain.audit import Outcome
from cortex.domain.errors import CortexError
from cortex.domain.rights import Principal

_WINDOW: Final = 60.0
_RETRY: Final = 2.0
_MOST_KINDS: Final = 1000
"""Told apart at once; more are counted together."""
_LONGEST: Final = 300

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Attempt:
    """What somebody was not allowed to do.

    Attributes:
        by: Who asked; a principal without a name where nobody could be told.
        action: What it would have been; `authenticate` where the key is not known.
        path: Method and path of the request.
        reason: What was answered.
    """

    by: Principal
    action: str
    path: str
    reason: str


@dataclass
class _Kind:
    """Attempts of one kind within a window: the one that is written next, and how often."""

    until: float
    attempt: Attempt
    times: int = 1


class Denials:
    """Collects denied attempts and writes them. `note` never waits and never fails."""

    def __init__(self, database: Database, *, window: float = _WINDOW) -> None:
        self._database = database
        self._window = window
        self._kinds: dict[tuple[str, str, str], _Kind] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Write what is left, if the database is there."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def note(self, attempt: Attempt) -> None:
        """Somebody was not allowed to do something."""
        key = (attempt.by.name, attempt.by.source, attempt.action)
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            key = ("", "", "")
        kind = self._kinds.get(key)
        if kind is None:
            # Due at once.
            self._kinds[key] = _Kind(until=0, attempt=attempt)
            self._wake.set()
        else:
            kind.attempt = attempt
            kind.times += 1

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._write()
                wait = self._wait()
            except CortexError as error:
                _log.warning("audit.denials_wait", error=error.detail)
                wait = _RETRY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            self._wake.clear()
        try:
            await self._write(everything=True)
        except CortexError as error:
            _log.warning("audit.denials_lost", error=error.detail, kinds=len(self._kinds))

    def _wait(self) -> float | None:
        """Seconds until the next window ends; None: nothing is open."""
        now = asyncio.get_running_loop().time()
        return min((max(0.0, kind.until - now) for kind in self._kinds.values()), default=None)

    async def _write(self, *, everything: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        for key, kind in list(self._kinds.items()):
            if kind.until > now and not everything:
                continue
            if not kind.times:
                del self._kinds[key]
                continue
            attempt, times = kind.attempt, kind.times
            async with self._database.statement() as tx:
                await tx.audit.add(
                    attempt.by,
                    attempt.action,
                    attempt.path[:_LONGEST],
                    outcome=Outcome.DENIED,
                    reason=attempt.reason[:_LONGEST],
                    times=times,
                )
            kind.times -= times
            kind.until = now + self._window
