"""What happens to a stack in a storm: kills, pauses, wrong clocks, lost leases, terminations.

All by a seed: which action comes next, whom it hits and when. What a process happens to do at that
moment is not in the seed, so a replay is the same weather, not the same day.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import psycopg
from temporalio.client import Client
from temporalio.service import RPCError

from tests.faults.chaos.log import ActionLog
from tests.faults.chaos.users import NETWORKS
from tests.faults.chaos.workers import ExtraWorker
from tests.faults.sink import Sink
from tests.support import patience
from tests.support.stack import Stack

_SIMULATORS = tuple(f"sim-{name.removesuffix('-sim')}" for name in NETWORKS)
_WORKERS = ("worker", "worker-2", "worker-3")
_OTHERS = ("api", "temporal", "postgres", *_SIMULATORS)
_STEADY = 20.0
"""The supervisor gives up on a process that dies too often soon after its start."""
_UNFINISHED = (
    "SELECT id FROM jobs WHERE state NOT IN ('completed', 'failed', 'cancelled') ORDER BY id"
)
_LIVE = "SELECT key, provider_id FROM leases WHERE state = 'active' ORDER BY key"


@dataclass(frozen=True)
class Weather:
    """How bad it is."""

    gaps: tuple[float, float] = (1.0, 4.0)
    """Seconds between two actions."""
    pauses: tuple[float, float] = (1.0, 5.0)
    """How long a process is stopped."""
    zombie: tuple[float, float] = (10.0, 16.0)
    """How long a worker is stopped so that others take its steps: beyond the heartbeat timeout."""
    terminations: int = 8
    """Workflows of jobs that are terminated by hand."""
    lost: int = 10
    """Leases that their network loses."""


@dataclass
class Storm:
    """One storm over one stack."""

    stack: Stack
    workers: Sequence[ExtraWorker]
    sink: Sink
    seed: str
    weather: Weather
    log: ActionLog
    terminated: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    _killed_at: dict[str, float] = field(default_factory=dict)
    _asides: set["asyncio.Task[None]"] = field(default_factory=set)

    @asynccontextmanager
    async def raging(self) -> AsyncIterator[None]:
        """It rages while the block runs; then all processes go on and all clocks are right."""
        task = asyncio.create_task(self._rage())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, *self._asides, return_exceptions=True)
            self.sink.down = False
            for name in NETWORKS:
                await self._act(name, "skew_clock", seconds=0)
            self.log.note("calm", "the storm is over")

    async def _rage(self) -> None:
        chance = random.Random(f"{self.seed}-storm")
        while True:
            await asyncio.sleep(chance.uniform(*self.weather.gaps))
            action = self._next(chance)
            with contextlib.suppress(OSError, psutil.Error, httpx.HTTPError, StopIteration):
                await action

    def _next(self, chance: random.Random) -> Awaitable[None]:
        pause = chance.uniform(*self.weather.pauses)
        worker, other = chance.choice(_WORKERS), chance.choice(_OTHERS)
        picks = random.Random(chance.random())  # how many there are must not change what follows
        actions: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (20, lambda: self._kill(worker)),
            (20, lambda: self._kill(other)),
            (10, lambda: self._freeze(worker, pause)),
            (15, lambda: self._freeze(other, pause)),
            (8, lambda: self._aside(self._freeze(worker, chance.uniform(*self.weather.zombie)))),
            (6, lambda: self._aside(self._sink_down(pause))),
            (6, lambda: self._skew(chance.choice(NETWORKS), chance.randint(-30, 30))),
            (10, lambda: self._terminate(picks)),
            (10, lambda: self._lose(picks)),
        ]
        (chosen,) = chance.choices(actions, [weight for weight, _ in actions])
        return chosen[1]()

    async def _aside(self, work: Awaitable[None]) -> None:
        """Let it happen while other things do."""

        async def carried() -> None:
            with contextlib.suppress(OSError, psutil.Error):
                await work

        task = asyncio.create_task(carried())
        self._asides.add(task)

    def _pid(self, name: str) -> int | None:
        for worker in self.workers:
            if worker.name == name:
                return worker.pid
        try:
            return self.stack.pid(name)
        except (AssertionError, StopIteration):  # it is being started again
            return None

    async def _kill(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        pid = self._pid(name)
        if pid is None or now - self._killed_at.get(name, -_STEADY) < _STEADY:
            return
        self._killed_at[name] = now
        self.log.note("kill", name, f"pid {pid}")
        os.kill(pid, signal.SIGKILL)

    async def _freeze(self, name: str, seconds: float) -> None:
        pid = self._pid(name)
        if pid is None:
            return
        top = psutil.Process(pid)
        stopped = [top, *top.children(recursive=True)]
        self.log.note("pause", name, f"for {seconds:.1f} s")
        try:
            for process in stopped:
                process.suspend()
            await asyncio.sleep(seconds)
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.Error):
                    process.resume()

    async def _sink_down(self, seconds: float) -> None:
        self.log.note("sink", "down", f"for {seconds:.1f} s")
        self.sink.down = True
        try:
            await asyncio.sleep(seconds)
        finally:
            self.sink.down = False

    async def _skew(self, provider_id: str, seconds: int) -> None:
        self.log.note("clock", provider_id, f"{seconds:+d} s")
        await self._act(provider_id, "skew_clock", seconds=seconds)

    async def _terminate(self, chance: random.Random) -> None:
        """As somebody would in the Web UI."""
        if len(self.terminated) >= self.weather.terminations:
            return
        rows = await self._rows(_UNFINISHED)
        if not rows:
            return
        job_id = str(chance.choice(rows)["id"])
        self.terminated.add(job_id)
        self.log.note("terminate", job_id)
        config = self.stack.config
        with contextlib.suppress(RPCError, RuntimeError, TimeoutError):
            async with asyncio.timeout(patience(5)):
                client = await Client.connect(config.temporal_address, namespace="cortex")
                await client.get_workflow_handle(job_id).terminate("by hand, in a storm")

    async def _lose(self, chance: random.Random) -> None:
        """A network loses a lease, as when a machine dies."""
        if len(self.lost) >= self.weather.lost:
            return
        rows = await self._rows(_LIVE)
        if not rows:
            return
        row = chance.choice(rows)
        self.lost.add(str(row["key"]))
        self.log.note("lose", str(row["key"]), str(row["provider_id"]))
        await self._act(str(row["provider_id"]), "lose_lease", key=row["key"])

    async def _rows(self, query: str) -> list[dict[str, object]]:
        try:
            async with asyncio.timeout(patience(5)):
                return await self.stack.rows(query)
        except (psycopg.Error, TimeoutError):
            return []

    async def _act(self, provider_id: str, action: str, **args: object) -> None:
        url = self.stack.config.simulator_urls()[provider_id.removesuffix("-sim")]
        async with httpx.AsyncClient(base_url=url, timeout=5) as http:
            with contextlib.suppress(httpx.HTTPError):
                await http.post("/_sim/world", json={"action": action, "args": args})
