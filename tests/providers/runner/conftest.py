"""The runner in the shells that images have, as a container would run it."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cortex.domain.spec import JobSpec
from providers.conformance import eventually
from providers.runner import RunnerLog, RunnerResult, wrap
from tests.support import patience

KEY = "job_01jjjjjjjjjjjjjjjjjjjjjjjj-1"
SHELLS = [
    pytest.param(
        name, marks=pytest.mark.skipif(not shutil.which(name[0]), reason=f"no {name[0]} here")
    )
    for name in (("dash",), ("bash", "--posix"), ("busybox", "sh"))
]


@dataclass
class Container:
    """A container that runs the runner; it can be restarted with its files or without."""

    shell: tuple[str, ...]
    folder: Path
    path: str = ""
    """Where the runner finds its tools; by default, all that are here."""
    process: asyncio.subprocess.Process | None = None
    raw: list[str] = field(default_factory=list)
    _reader: asyncio.Task[None] | None = None

    async def start(
        self, spec: JobSpec, *, more: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        """Run it; `more` are variables of the container beside the runner's own."""
        wrapped = wrap(spec, KEY, **options)
        self.process = await asyncio.create_subprocess_exec(
            *self.shell,
            *wrapped.argv[1:],
            cwd=self.folder,
            env={
                "PATH": self.path or os.environ["PATH"],
                "TMPDIR": str(self.folder),
                **wrapped.env,
                **(more or {}),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**20,
            start_new_session=True,
        )
        self.raw = []
        self._reader = asyncio.create_task(self._read(self.process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.raw.append(line.decode(errors="replace"))

    def log(self) -> RunnerLog:
        log = RunnerLog(KEY)
        for line in list(self.raw):
            log.feed(line)
        return log

    def texts(self) -> list[str]:
        return [line.text for line in self.log().lines()]

    async def says(self, text: str) -> None:
        """Wait until the command has printed this line."""

        async def said() -> bool:
            return text in self.texts()

        await eventually(said, what=f"`{text}`")

    async def result(self) -> RunnerResult:
        async def ended() -> RunnerResult | None:
            return self.log().result

        reached = await eventually(ended, what="the end of the command")
        assert reached is not None
        return reached

    async def kill(self) -> None:
        """As a node does that loses power."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        if self._reader is not None:
            self._reader.cancel()


@pytest_asyncio.fixture(params=SHELLS)
async def container(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Container]:
    made = Container(request.param, tmp_path)
    yield made
    if made.process is not None and made.process.returncode is None:
        made.process.terminate()
        try:
            await asyncio.wait_for(made.process.wait(), patience(5))
        except TimeoutError:
            await made.kill()
            raise
    await made.kill()


def shell(script: str, **more: Any) -> JobSpec:
    return JobSpec.model_validate({"command": ["sh", "-c", script], **more})
