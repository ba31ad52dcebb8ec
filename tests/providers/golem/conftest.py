"""A simulated market, and providers that buy on it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from cortex.domain.ids import lease_key, new_id
from cortex.domain.spec import JobSpec
from providers.conformance import slowdown
from providers.golem import GolemConfig, GolemProvider
from simulators.golem import APP_KEY, GolemWorld
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from tests.support.openapi import Recorder

IMAGE = "cortex/alpine:3"
Make = Callable[..., Awaitable[GolemProvider]]


class Sim:
    """A served world."""

    def __init__(self, url: str, world: GolemWorld, recorder: Recorder) -> None:
        self.url = url
        self.world = world
        self.recorder = recorder

    async def act(self, action: str, **args: Any) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            answer = await client.post("/_sim/world", json={"action": action, "args": args})
            answer.raise_for_status()
            done: dict[str, Any] = answer.json()
            return done

    async def books(self, what: str) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            entries: list[dict[str, Any]] = (await client.get(f"/_sim/{what}")).json()
            return entries

    async def faults(self, *rules: dict[str, Any]) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            (await client.put("/_sim/faults", json=list(rules))).raise_for_status()


@contextlib.asynccontextmanager
async def simulated(folder: Path) -> AsyncIterator[Sim]:
    world = GolemWorld(folder, Clock(), Runs(folder / "runs", grace=timedelta(seconds=0.05)))
    recorder = Recorder(make_app(world))
    async with serving(recorder) as url:
        world.core.habits.proposal_delay = 0.0
        world.core.habits.invoice_delay = 0.02
        try:
            yield Sim(url, world, recorder)
        finally:
            await world.end_all()


_SLOWDOWN = slowdown()
"""Once, so that two providers of one network are configured alike."""


def settings(url: str, **changes: Any) -> GolemConfig:
    fields: dict[str, Any] = {
        "url": url,
        "app_key": APP_KEY,
        "usd_rate": "0.25",
        "usd_rate_date": "2026-11-20",
        "stats_url": f"{url}/stats",
        "registry_url": f"{url}/registry",
        "collect_for": 0.05,
        "negotiate_with": 1,
        "max_glm": 5,
        "negotiation_timeout": 10 * _SLOWDOWN,
        "scan_for": 1,
        "invoice_wait": 5 * _SLOWDOWN,
        "poll_interval": 1,
    }
    return GolemConfig.model_validate({**fields, **changes})


def job(script: str, **changes: Any) -> JobSpec:
    fields = {"image": IMAGE, "command": ("sh", "-c", script), "duration": "10m", **changes}
    return JobSpec.model_validate(fields)


def new_key() -> str:
    return lease_key(new_id("job"), 1)


@pytest_asyncio.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Sim]:
    async with simulated(tmp_path / "golem") as made:
        yield made


@pytest_asyncio.fixture
async def make(sim: Sim) -> AsyncIterator[Make]:
    made: list[GolemProvider] = []

    async def one(**changes: Any) -> GolemProvider:
        provider = GolemProvider("golem-sim", settings(sim.url, **changes))
        await provider.initialize()
        made.append(provider)
        return provider

    yield one
    for provider in made:
        await provider.aclose()


@pytest_asyncio.fixture
async def golem(make: Make) -> GolemProvider:
    return await make()
