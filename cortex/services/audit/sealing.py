"""Sealing the audit log: what was written is taken into the chain within seconds, in batches.

Every API process does it, one at a time by a lock in the database; a submission never waits for it.
"""

import asyncio
import contextlib
from typing import Final

import structlog

from cortex.db.engine import Database
from cortex.domain.errors import CortexError

_EVERY: Final = 2.0
_RETRY: Final = 10.0
_AT_ONCE: Final = 2000

_log = structlog.get_logger(__name__)


class Sealer:
    """Seals entries of the audit log while it runs."""

    def __init__(self, database: Database, *, every: float = _EVERY) -> None:
        self._database = database
        self._every = every
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Seal no more; what waits then, the next one seals."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        wait = self._every
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stop.wait()
                return
            try:
                await seal_pending(self._database)
                wait = self._every
            except CortexError as error:
                _log.warning("audit.sealing_waits", error=error.detail)
                wait = _RETRY
            except Exception:  # a bug of ours or somebody's seal: no reason to stop for ever
                _log.warning("audit.sealing_failed", exc_info=True)
                wait = _RETRY


async def seal_pending(database: Database) -> int:
    """Seal what waits for it, batch by batch; how many entries that were.

    Raises:
        DatabaseUnavailable: what was sealed before stays so.
    """
    async with database.reading() as tx:
        if not await tx.audit.any_pending():
            return 0
    total = 0
    while True:
        async with database.transaction() as tx:
            sealed = await tx.audit.seal(most=_AT_ONCE)
        total += sealed
        if sealed < _AT_ONCE:
            return total
