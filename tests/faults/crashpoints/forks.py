"""The fork server, as the tests see it: a child process is one call, its end a future."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import patience

ROOT = Path(__file__).parents[3]
_SERVER = "tests.faults.crashpoints.forkserver"


@dataclass
class Child:
    """A forked process."""

    pid: int
    ended: "asyncio.Future[int]"

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; harmless if it has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def killed(self) -> int:
        """End it without any clean-up, and wait until it is gone."""
        self.kill()
        return await self.ended


class Forks:
    """Orders children, and hears of their ends."""

    def __init__(self, server: asyncio.subprocess.Process) -> None:
        self._server = server
        self._orders = 0
        self._answers: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[int, Child] = {}
        self._reading: asyncio.Task[None] | None = None

    async def spawn(
        self, role: str, log: Path, env: Mapping[str, str] | None = None, **args: Any
    ) -> Child:
        """A child in this role (`roles.ROLES`); what it prints goes into `log`."""
        self._orders += 1
        loop = asyncio.get_running_loop()
        answer = self._answers[self._orders] = loop.create_future()
        birth = {"order": self._orders, "role": role, "log": str(log), "args": args}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps({**birth, "env": dict(env or {})}).encode() + b"\n")
        return await asyncio.wait_for(answer, patience(20))

    async def begin(self) -> None:
        assert self._server.stdout is not None
        await asyncio.wait_for(
            self._server.stdout.readline(), patience(60)
        )  # it has imported everything
        self._reading = asyncio.create_task(self._read(self._server.stdout))

    async def aclose(self) -> None:
        """End the server and all children."""
        for child in self._children.values():
            child.kill()
        if self._server.stdin is not None:
            self._server.stdin.close()
        await self._server.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self, lines: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        while line := await lines.readline():
            told = json.loads(line)
            if "order" in told:
                child = Child(told["pid"], loop.create_future())
                self._children[child.pid] = child
                self._answers.pop(told["order"]).set_result(child)
            elif "ended" in told:
                gone = self._children.pop(told["ended"], None)
                if gone is not None:
                    gone.ended.set_result(told["status"])
        for child in self._children.values():
            child.ended.set_result(-signal.SIGKILL)  # they die with the server


@asynccontextmanager
async def fork_server(log: Path) -> AsyncIterator[Forks]:
    """A fork server; nothing that it forked outlives the block."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("CORTEX_")}
    with log.open("ab") as errors:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _SERVER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=clean,
        )
    forks = Forks(server)
    try:
        await forks.begin()
        yield forks
    finally:
        await forks.aclose()
