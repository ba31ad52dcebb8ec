"""A whole embedded stack on free ports, for tests that drive or hurt it from outside."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

import psutil
import psycopg
from psycopg.rows import dict_row

from cortex.client import AsyncCortex
from cortex.embedded import StackConfig, detach, stack_status, stop_stack
from tests.support import eventually


class Stack:
    """A running stack and its books, seen from outside."""

    def __init__(self, config: StackConfig, settings: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.settings = dict(settings or {})
        self.client = AsyncCortex(config.api_url, api_key=config.api_key)

    async def start(self) -> None:
        """Start it, or start it again on the data that is there."""
        with patch.dict(os.environ, self.settings):
            await detach(self.config)
        self.config = StackConfig.load(self.config.data_dir)  # the simulators have ports by now

    def environment(self) -> dict[str, str]:
        """What its API and worker are started with, for more of them."""
        with patch.dict(os.environ, self.settings):
            return self.config.environment()

    def pid(self, name: str) -> int:
        """The pid of a process of the stack."""
        status = stack_status(self.config.data_dir)
        if name == "supervisor":
            assert status.supervisor is not None
            pid = status.supervisor.pid
        else:
            pid = next(part.pid for part in status.processes if part.name == name)
        assert pid is not None, f"{name} does not run"
        return pid

    def kill(self, name: str) -> None:
        """SIGKILL: no clean-up of any kind."""
        os.kill(self.pid(name), signal.SIGKILL)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """SIGSTOP of a process and all its children; SIGCONT at the end."""
        top = psutil.Process(self.pid(name))
        stopped = [top, *top.children(recursive=True)]
        try:
            for process in stopped:
                process.suspend()
            yield
        finally:
            for process in stopped:
                if process.is_running():
                    process.resume()

    async def back(self, name: str, former: int) -> None:
        """Wait until another process has taken the place of the killed one."""

        async def running() -> bool:
            status = stack_status(self.config.data_dir)
            part = next(part for part in status.processes if part.name == name)
            return part.pid not in (None, former) and part.phase in ("running", "ready")

        await eventually(running, within=60, what=f"the restart of {name}")

    async def rows(self, query: str) -> list[dict[str, object]]:
        """What the database itself says."""
        connect = psycopg.AsyncConnection.connect(self.config.database_url, row_factory=dict_row)
        async with await connect as connection:
            return await (await connection.execute(query.encode())).fetchall()

    def leases_on_disk(self) -> list[Path]:
        """What the local provider still holds."""
        folder = self.config.data_dir / "providers" / "local"
        return [path for path in folder.glob("job_*") if path.is_dir()]

    def processes(self, mark: str) -> list[int]:
        """Processes of jobs whose command line carries the mark."""
        pids: list[int] = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            words = process.info["cmdline"] or []
            if any(mark in word for word in words) and process.pid != os.getpid():
                pids.append(process.pid)
        return pids


@asynccontextmanager
async def running_stack(
    folder: Path, settings: Mapping[str, str] | None = None, *, simulators: bool = False
) -> AsyncIterator[Stack]:
    """Starts a stack, stops it at the end whatever happened to it."""
    config = StackConfig.free(folder).model_copy(update={"simulators": simulators})
    stack = Stack(config, settings)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.client.aclose()
        await stop_stack(folder)


@contextmanager
def short_folder(prefix: str) -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach, removed at the end."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
