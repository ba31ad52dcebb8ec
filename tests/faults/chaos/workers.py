"""More workers beside the one of the stack: processes that are started again when they die."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.support import eventually

_PAUSE = 0.5


class ExtraWorker:
    """One worker process, watched over."""

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._healthy = folder / f"{name}.healthy"
        self._environment = {**environment, "CORTEX_WORKER__HEALTH_FILE": str(self._healthy)}
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """None while it is being started again."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def ready(self) -> None:
        """Wait until it works for the first time."""

        async def healthy() -> bool:
            return self._healthy.exists()

        await eventually(healthy, within=300, what=f"{self.name} at work")

    async def keep(self) -> None:
        """Run it until this is cancelled."""
        log = self._folder / f"{self.name}.log"
        try:
            while True:
                with log.open("ab") as out:
                    self._process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-P", "-m", "worker"),
                        env=self._environment,
                        cwd=self._folder,
                        stdout=out,
                        stderr=out,
                    )
                await self._process.wait()
                await asyncio.sleep(_PAUSE)
        finally:
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    psutil.Process(self._process.pid).resume()
                    self._process.kill()
                await self._process.wait()


@asynccontextmanager
async def extra_workers(workers: list[ExtraWorker]) -> AsyncIterator[None]:
    """They work while the block runs."""
    tasks = [asyncio.create_task(worker.keep(), name=worker.name) for worker in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
