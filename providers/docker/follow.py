"""Following a log with Podman, whose own `follow` drops lines under load.

Its stream is only used as a bell: it rings when something was written, and then the log is read
the plain way, which is complete. A silent job costs nothing.
"""

import asyncio
import time
from contextlib import suppress
from types import TracebackType

from cortex.tasks import end_task
from providers.docker.engine import Engine, segment
from providers.errors import ProviderError

# Between two looks if the bell does not ring; it might be broken.
_LATEST = 5.0
_EARLIEST = 0.2
# A look reads the whole log at the engine, so a loud job is looked at less often.
_SHARE = 4.0


class Bell:
    """Rings when a container has written something; an async context."""

    def __init__(self, engine: Engine, container_id: str) -> None:
        self._engine = engine
        self._path = f"/containers/{segment(container_id)}/logs"
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._looked = time.monotonic()

    async def __aenter__(self) -> "Bell":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            await end_task(self._task)

    def looking(self) -> None:
        """A look begins now."""
        self._looked = time.monotonic()
        self._rung.clear()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())

    def ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        """Return when another look is worth while."""
        took = time.monotonic() - self._looked
        await asyncio.sleep(max(_EARLIEST, _SHARE * took))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), _LATEST)

    async def _listen(self) -> None:
        params = {"stdout": "1", "stderr": "1", "follow": "1", "tail": "0"}
        with suppress(ProviderError):
            async with self._engine.stream("GET", self._path, params=params) as answer:
                async for _ in answer.aiter_raw():
                    self._rung.set()
        # Podman ends it at once for a container that was not started yet.
        self._rung.set()
