"""Simulated networks inside a test's own process, to be hurt over their control routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cortex.embedded.simulators import provider_id, simulated_providers
from simulators.akash import AkashSettings
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from simulators.registry import world_class
from tests.support.runs import clear

_PACE: dict[str, dict[str, Any]] = {
    "akash": {"settings": AkashSettings(bid_delay=0.2, bid_spread=0.1, ready_delay=0.1)},
}
"""Networks that would keep a test waiting are set up to be quicker."""


@dataclass
class Network:
    """One simulated network, seen from outside."""

    name: str
    url: str

    @property
    def provider_id(self) -> str:
        return provider_id(self.name)

    def entry(self, **changes: Any) -> dict[str, Any]:
        """The provider in the settings that uses it."""
        return {**simulated_providers({self.name: self.url})[self.provider_id], **changes}

    async def faults(self, *rules: dict[str, Any]) -> None:
        """What happens to the next calls; nothing if no rule is given."""
        await self._call("PUT", "/_sim/faults", list(rules))

    async def act(self, action: str, **args: Any) -> None:
        """Let something happen in that world."""
        await self._call("POST", "/_sim/world", {"action": action, "args": args})

    async def alive(self) -> list[str]:
        """The keys of leases that cost money now."""
        leases = await self._call("GET", "/_sim/leases")
        return [lease["key"] for lease in leases if lease["alive"]]

    async def bills(self) -> list[dict[str, Any]]:
        """What it charges, by its own reckoning."""
        bills: list[dict[str, Any]] = await self._call("GET", "/_sim/bill")
        return bills

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        async with httpx.AsyncClient(base_url=self.url) as http:
            answer = await http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()


@asynccontextmanager
async def network(name: str, folder: Path) -> AsyncIterator[Network]:
    """Serve a simulated network; nothing that it ran is left at the end."""
    runs = folder / "runs"
    await asyncio.to_thread(runs.mkdir, parents=True, exist_ok=True)
    try:
        world = world_class(name)(folder, Clock(), Runs(runs), **_PACE.get(name, {}))
        async with serving(make_app(world)) as url:
            yield Network(name, url)
    finally:
        await clear(runs)
