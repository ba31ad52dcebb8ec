"""A simulated Nosana, providers over it, and a drop box for their files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from fastapi import FastAPI
from pydantic import SecretStr

from api.drop import DropMiddleware
from providers.dropbox import DropBox
from providers.nosana import NosanaConfig, NosanaProvider
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from simulators.nosana import API_KEY, NosanaWorld
from tests.support.runs import clear

SECRET = b"a secret of the tests"


def make_config(**changes: Any) -> NosanaConfig:
    """A configuration that asks often."""
    fields = {
        "api_key": SecretStr(API_KEY),
        "poll_interval": timedelta(seconds=0.1),
        **changes,
    }
    return NosanaConfig.model_validate(fields)


@dataclass
class Sim:
    """One simulated network, its drop box and what to do with them."""

    url: str
    drop: DropBox
    world: NosanaWorld

    async def provider(self, *, drop: bool = True, **changes: Any) -> NosanaProvider:
        """A new provider, initialized."""
        provider = NosanaProvider("nosana-sim", self.config(**changes))
        provider.drop = self.drop if drop else None
        await provider.initialize()
        return provider

    def config(self, **changes: Any) -> NosanaConfig:
        return make_config(**{"url": self.url, **changes})

    async def act(self, action: str, **args: Any) -> None:
        """Let something happen there."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            answer = await client.post("/_sim/world", json={"action": action, "args": args})
            answer.raise_for_status()

    async def faults(self, *rules: dict[str, Any]) -> None:
        async with httpx.AsyncClient(base_url=self.url) as client:
            (await client.put("/_sim/faults", json=list(rules))).raise_for_status()

    async def skew(self, seconds: int) -> None:
        """Set the network's clock wrong."""
        await self.act("skew_clock", seconds=seconds)

    async def status_of(self, link: str) -> int:
        """What a GET of the link is answered with."""
        async with httpx.AsyncClient() as client:
            return (await client.get(link)).status_code

    async def read(self, path: str) -> Any:
        """What the network answers the account."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers) as client:
            return (await client.get(path)).json()

    async def calls(self, method: str) -> list[str]:
        """The paths that were called with this method."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            calls = (await client.get("/_sim/calls")).json()
        return [call["path"] for call in calls if call["method"] == method]

    async def bill(self, key: str) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=self.url) as client:
            bills = (await client.get("/_sim/bill")).json()
        return [bill for bill in bills if bill["key"] == key]


@asynccontextmanager
async def simulated(folder: Path) -> AsyncIterator[Sim]:
    """Serve the network and a drop box."""
    (folder / "world").mkdir(parents=True, exist_ok=True)
    runs = Runs(folder / "runs", grace=timedelta(seconds=0.7))
    world = NosanaWorld(folder / "world", Clock(), runs)
    drop = DropMiddleware(
        FastAPI(), folder=folder / "drop", secret=SECRET, limit=10**8, arrived=_arrived
    )
    async with serving(make_app(world)) as url, serving(drop) as drop_url:
        try:
            yield Sim(url, DropBox(drop_url, SECRET), world)
        finally:
            await clear(folder / "runs")


async def _arrived(_key: str, _name: str) -> None:
    return None


@pytest_asyncio.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Sim]:
    async with simulated(tmp_path / "nosana") as running:
        yield running
