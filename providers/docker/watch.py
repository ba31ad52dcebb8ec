"""The engine's event stream: wakes up whoever waits for a lease to change."""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta

from cortex.tasks import end_task
from providers.docker.engine import Engine, filters
from providers.errors import ProviderError

# Fifty jobs that end together shall cause few looks, not fifty.
_GATHER = 0.05
# An event stays news for this long, for those who were looking elsewhere when it came.
_FRESH = 0.5
_RECONNECT = 1.0


class Watch:
    """Counts the events of one account's containers; connects when first waited for."""

    def __init__(self, engine: Engine, account_label: str) -> None:
        self._engine = engine
        self._label = account_label
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._count = 0
        self._looked = 0
        self._last = float("-inf")

    def looking(self) -> None:
        """Somebody asks for the states now; what has happened until now is no news to him."""
        self._looked = self._count

    async def wait(self, timeout: timedelta) -> None:
        """Return after an event that nobody has looked at, or after the timeout."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout.total_seconds()):
                async with self._changed:
                    await self._changed.wait_for(self._news)
                await asyncio.sleep(_GATHER)

    async def close(self) -> None:
        if self._task is not None:
            await end_task(self._task)
            self._task = None

    def _news(self) -> bool:
        return self._count > self._looked or time.monotonic() - self._last < _FRESH

    async def _run(self) -> None:
        params = {"filters": filters(type="container", label=self._label)}
        while True:
            with suppress(ProviderError):
                async with self._engine.stream("GET", "/events", params=params) as answer:
                    # What happened while nobody listened has to be looked for.
                    await self._tell()
                    async for _ in answer.aiter_raw():
                        await self._tell()
            await asyncio.sleep(_RECONNECT)

    async def _tell(self) -> None:
        async with self._changed:
            self._count += 1
            self._last = time.monotonic()
            self._changed.notify_all()
