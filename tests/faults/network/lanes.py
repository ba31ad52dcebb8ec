"""Many jobs at once, each on a simulated network of its own, with a fault plan of its own.

All share one worker, one database and one Temporal server. A lane is one simulator with one
provider over it and runs one job at a time, so that the n-th call of a job is known to be its.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from api.drop import DropMiddleware
from cortex.domain.events import EventType, NewEvent
from cortex.domain.providers.circuit import CircuitRules
from cortex.domain.providers.health import HealthRules
from cortex.domain.states import JobState
from cortex.settings import DropSettings, JobSettings, MonitorSettings, ProviderSettings
from providers.conformance import Patience
from simulators.kit.serve import serving
from tests.faults.network.plan import Call, Fault
from tests.integration.conftest import Stage
from tests.integration.networks import Network, network
from tests.support import eventually

_SECRET = b"a secret of the fault tests"
_QUIET = timedelta(hours=1)
_WITHIN = 240.0


@dataclass
class Lane:
    """One simulator, and the id of the provider that uses it."""

    net: Network
    provider_id: str

    async def calls(self) -> list[Call]:
        """What the simulator was asked since the last `forget`, with the faults that struck."""
        async with httpx.AsyncClient(base_url=self.net.url, timeout=30) as http:
            calls = (await http.get("/_sim/calls")).json()
        return [Call(call["method"], call["path"], call["fault"]) for call in calls]

    async def forget(self) -> None:
        """No rules and no calls: a new run begins."""
        async with httpx.AsyncClient(base_url=self.net.url, timeout=30) as http:
            (await http.delete("/_sim/faults")).raise_for_status()
            (await http.delete("/_sim/calls")).raise_for_status()


@dataclass
class Run:
    """One job that met these faults."""

    network: str
    story: str
    faults: tuple[Fault, ...]
    job_id: str = ""
    struck: int = 0
    seconds: float = 0
    state: str = ""
    reason: str = ""
    message: str = ""
    calls: list[Call] = field(default_factory=list)
    before: int = 0
    """How many calls there were when something was done to the job: those of its usual life."""
    missing: str = ""
    """What of its results is not there, though it has completed."""

    def __str__(self) -> str:
        what = " and ".join(map(str, self.faults)) or "no fault"
        end = f"{self.state} {self.reason}: {self.message[:200]}"
        return f"{self.network}, {self.story}, {what} ({self.job_id}, {self.seconds:.0f} s): {end}"


@dataclass
class Lanes:
    """The lanes of all networks, and the stage they share."""

    stage: Stage
    free: dict[str, asyncio.Queue[Lane]]
    all: Sequence[Lane]

    def urls(self) -> dict[str, str]:
        """Provider ids and the simulators behind them, for the books."""
        return {lane.provider_id: lane.net.url for lane in self.all}

    async def run(self, work: Run) -> Run:
        """Live one job through its faults, in the next free lane of its network."""
        lane = await self.free[work.network].get()
        try:
            await lane.forget()
            await lane.net.faults(*(fault.rule() for fault in work.faults))
            began = time.monotonic()
            work.job_id = await self._submit(lane, work.story)
            await STORIES[work.story].act(self.stage, work.job_id)
            work.before = len(await lane.calls())
            await self._ended(work)
            work.seconds = time.monotonic() - began
            work.calls = await lane.calls()
            work.struck = sum(1 for call in work.calls if call.fault)
        finally:
            await lane.forget()
            self.free[work.network].put_nowait(lane)
        return work

    async def _submit(self, lane: Lane, story: str) -> str:
        fields: dict[str, Any] = {
            "image": "busybox",
            "resources": {"cpu": "500m", "memory": "256Mi"},
            "duration": "10m",
            "placement": {"providers": [lane.provider_id], "timeout": "40s"},
        }
        return await self.stage.submit(**{**fields, **STORIES[story].spec})

    async def _ended(self, work: Run) -> None:
        """Wait for the end; a job without one is left to the check of the books."""
        waiting = Patience(_WITHIN)
        while not waiting.over:
            job = await self.stage.job(work.job_id)
            if job.state.terminal:
                break
            await asyncio.sleep(0.1)
        work.state, work.message = job.state.value, job.message
        work.reason = job.reason.value if job.reason else ""
        if (work.story, work.state) == ("success", "completed"):
            work.missing = await self._missing(work.job_id)

    async def _missing(self, job_id: str) -> str:
        kept = self.stage.settings.outputs_dir / job_id / "kept"
        if not await asyncio.to_thread(kept.exists):
            return "its output file is gone"
        async with self.stage.database.transaction() as tx:
            lines = [line.text for line in await tx.logs.tail(job_id, 10)]
        return "" if lines == ["hello"] else f"its log is {lines}"


@dataclass(frozen=True)
class Story:
    """What a job is, what is done to it, and how it ends on a good day."""

    spec: dict[str, Any]
    ends: str
    act: Callable[[Stage, str], Awaitable[None]]


async def _nothing(stage: Stage, job_id: str) -> None:
    return


async def _cancel(stage: Stage, job_id: str) -> None:
    """Cancel it once it runs, as the API does; a job that ends before needs none."""

    async def running() -> bool:
        job = await stage.job(job_id)
        return job.state.terminal or job.state == JobState.RUNNING

    await eventually(running, within=_WITHIN, what=f"{job_id} running")
    async with stage.database.transaction() as tx:
        await tx.jobs.lock(job_id)
        message = "cancel requested"
        if await tx.jobs.move(job_id, JobState.CANCELLING, message=message):
            state = {"state": JobState.CANCELLING.value, "message": message}
            await tx.events.add_many([NewEvent.of_job(EventType.JOB_STATE_CHANGED, job_id, state)])
            await tx.commands.add(job_id, "cancel", {"reason": "test"})


STORIES = {
    "success": Story(
        {"command": ["sh", "-c", "echo hello; echo 42 > kept"], "outputs": ["kept"]},
        "completed",
        _nothing,
    ),
    "exit code": Story({"command": ["sh", "-c", "echo no >&2; exit 3"]}, "failed", _nothing),
    "cancel": Story({"command": ["sh", "-c", "echo hello; exec sleep 600"]}, "cancelled", _cancel),
}


@asynccontextmanager
async def lanes(
    stage: Stage, folder: Path, networks: Sequence[str], each: int
) -> AsyncIterator[Lanes]:
    """Serve `each` simulators of every network, and a worker for all of them."""
    free: dict[str, asyncio.Queue[Lane]] = {name: asyncio.Queue() for name in networks}
    made: list[Lane] = []
    providers: dict[str, ProviderSettings] = {}
    async with AsyncExitStack() as stack:
        drop = DropMiddleware(
            FastAPI(), folder=folder / "drop", secret=_SECRET, limit=10_000_000, arrived=_arrived
        )
        drop_url = await stack.enter_async_context(serving(drop))
        for name in networks:
            for number in range(1, each + 1):
                net = await stack.enter_async_context(network(name, folder / f"{name}-{number}"))
                lane = Lane(net, f"{name}-{number}")
                made.append(lane)
                free[name].put_nowait(lane)
                providers[lane.provider_id] = ProviderSettings.model_validate(net.entry())
        stage.settings = stage.settings.model_copy(update=_settings(providers, drop_url))
        await stack.enter_async_context(stage.worker())
        await _open(stage, [lane.provider_id for lane in made])
        yield Lanes(stage, free, made)


async def _arrived(_key: str, _name: str) -> None:
    return None


def _settings(providers: dict[str, ProviderSettings], drop_url: str) -> dict[str, Any]:
    """Calls of nobody's job would take the faults meant for one: no checks of health meanwhile."""
    patience = timedelta(seconds=15)
    return {
        "providers": providers,
        "drop": DropSettings(secret=SecretStr(_SECRET.decode()), url=drop_url),
        "health": HealthRules(interval=_QUIET, timeout=timedelta(seconds=30)),
        "circuit": CircuitRules(failures=1000),
        "jobs": JobSettings(heartbeat_timeout=patience),
        "monitor": MonitorSettings(heartbeat_timeout=patience),
    }


async def _open(stage: Stage, ids: Sequence[str]) -> None:
    async def online() -> bool:
        async with stage.database.transaction() as tx:
            online = {
                provider.id for provider in await tx.providers.all() if provider.status == "online"
            }
        return online >= set(ids)

    await eventually(online, within=60, what="all simulated networks open")
