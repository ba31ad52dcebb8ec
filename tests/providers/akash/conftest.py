"""A simulated Akash on a free port, at a hundred times its pace."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef
from cortex.domain.spec import JobSpec
from providers.akash import AkashConfig, AkashProvider
from providers.conformance import eventually
from providers.errors import Unavailable
from simulators.akash import API_KEY, AkashSettings, AkashWorld
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from tests.support import patience
from tests.support.openapi import Recorder

BLOCK = 0.05
_CLOSE_WAIT = timedelta(seconds=patience(3))


def fast(**changes: Any) -> AkashSettings:
    """A network whose bids and blocks come at once."""
    usual: dict[str, Any] = {
        "block_seconds": BLOCK,
        "bid_delay": 0.0,
        "bid_spread": 0.0,
        "ready_delay": 0.0,
        "restart_delay": 0.2,
        "tick": 0.05,
    }
    return AkashSettings.model_validate({**usual, **changes})


def config(url: str, **changes: Any) -> AkashConfig:
    """An adapter that is as impatient."""
    usual: dict[str, Any] = {
        "api_key": API_KEY,
        "console_url": url,
        "chain_url": url,
        "block_seconds": str(BLOCK),
        "bid_wait": "0s",
        "bid_deadline": "1s",
        "bid_poll": "0.05s",
        "poll": "0.1s",
        "search_window": "1s",
        "close_wait": _CLOSE_WAIT,
        "upkeep_every": "0s",
    }
    return AkashConfig.model_validate({**usual, **changes})


def spec(script: str = "true", **changes: Any) -> JobSpec:
    """A job in an image."""
    usual: dict[str, Any] = {
        "name": "akash",
        "image": "busybox:1.36",
        "command": ("sh", "-c", script),
        "duration": "10m",
    }
    return JobSpec.model_validate({**usual, **changes})


def key() -> str:
    return lease_key(new_id("job"), 1)


async def cancelled(akash: AkashProvider, ref: LeaseRef) -> None:
    """Cancel as Cortex does: again, until the network has closed it."""

    async def closed() -> bool:
        try:
            await akash.cancel(ref)
        except Unavailable:
            return False
        return True

    await eventually(closed, what=f"the end of {ref.network_id}")


@dataclass
class Net:
    """One simulated network and how to reach it."""

    url: str
    world: AkashWorld
    recorder: Recorder
    stack: AsyncExitStack
    control: httpx.AsyncClient

    async def provider(self, **changes: Any) -> AkashProvider:
        made = AkashProvider("akash", config(self.url, **changes))
        self.stack.push_async_callback(made.aclose)
        await made.initialize()
        return made

    async def act(self, action: str, **args: Any) -> None:
        answer = await self.control.post("/_sim/world", json={"action": action, "args": args})
        assert answer.is_success, answer.text

    async def fault(self, match: str, fault: str, **more: Any) -> None:
        rule = {"match": match, "fault": fault, **more}
        answer = await self.control.put("/_sim/faults", json=[rule])
        assert answer.is_success, answer.text

    async def calls(self, method: str, path: str) -> int:
        calls = (await self.control.get("/_sim/calls")).json()
        return sum(call["method"] == method and call["path"] == path for call in calls)

    async def alive(self) -> list[str]:
        leases = (await self.control.get("/_sim/leases")).json()
        return [entry["key"] for entry in leases if entry["alive"]]

    async def bill(self, lease: str) -> dict[str, Any]:
        bills = (await self.control.get("/_sim/bill")).json()
        (line,) = [bill for bill in bills if bill["key"] == lease]
        return dict(line)


MakeNet = Callable[..., Awaitable[Net]]


@pytest_asyncio.fixture
async def make_net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MakeNet]:
    """Makes networks; all that runs in them is ended after the test."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Net:
            folder = tmp_path_factory.mktemp("akash")
            runs = Runs(folder / "runs", grace=timedelta(seconds=0.5))
            world = AkashWorld(folder, Clock(), runs, fast(**settings))
            recorder = Recorder(make_app(world))
            url = await stack.enter_async_context(serving(recorder))
            stack.push_async_callback(_end_all, world)
            control = httpx.AsyncClient(base_url=url, verify=False)
            await stack.enter_async_context(control)
            return Net(url, world, recorder, stack, control)

        yield make


async def _end_all(world: AkashWorld) -> None:
    for deployment in world.book.deployments.values():
        await world.close(deployment)
        for lease in deployment.leases:
            await world.cluster.end(deployment, lease)


@pytest_asyncio.fixture
async def net(make_net: MakeNet) -> Net:
    """A usual network, behind the newer Console."""
    return await make_net()


@pytest_asyncio.fixture
async def older(make_net: MakeNet) -> Net:
    """A network behind the Console of 2026-08-22."""
    return await make_net(extended=False)


@pytest.fixture
def lease() -> str:
    """A new lease key."""
    return key()


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
