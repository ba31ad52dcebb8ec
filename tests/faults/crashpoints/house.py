"""What all runs share: servers, the fork server, and the lanes, each with its own networks."""

import asyncio
import contextlib
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from temporalio.testing import WorkflowEnvironment

from cortex.embedded.config import StackConfig
from cortex.embedded.simulators import provider_id, simulated_providers
from tests.faults.crashpoints.forks import Child, Forks, fork_server
from tests.support import eventually, temporal_program
from tests.support.databases import admin, fresh_database

# A dead worker must be noticed soon, and no schedule runs here that would need these workers.
_TEMPORAL: Final = (
    "history.transferProcessorMaxPollRPS=1000",
    'history.defaultWorkflowTaskTimeout="2s"',
    "worker.perNamespaceWorkerCount=0",
    # Thousands of namespaces with a handful of queues each: in parts they only cost.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
)
_PACE: Final[dict[str, dict[str, Any]]] = {
    "akash": {"bid_wait": "0.3s", "bid_poll": "0.1s", "poll": "1s", "block_seconds": "0.5"},
    "golem": {"collect_for": 0.2, "scan_for": 0.3, "poll_interval": 1},
    "nosana": {"poll_interval": "1s"},
    "render": {"poll_interval": "1s"},
}
# The books of a simulator grow with every run; a new one begins with none.
_RUNS_PER_NETWORK: Final = 60


@dataclass
class Lane:
    """Runs one after another; several lanes run side by side and share no network."""

    number: int
    folder: Path
    forks: Forks
    urls: dict[str, str] = field(default_factory=dict)
    _networks: Child | None = None
    _generation: "itertools.count[int]" = field(default_factory=itertools.count)
    _left: int = 0

    async def networks(self, names: Sequence[str]) -> dict[str, str]:
        """The addresses of these simulators by provider id, which run from now on."""
        if self._left <= 0 or not set(names) <= set(self.urls):
            await self.aclose()
            await self._serve(sorted({*names, *self.urls}))
        self._left -= 1
        return {provider_id(name): self.urls[name] for name in names}

    async def aclose(self) -> None:
        if self._networks is not None:
            await self._networks.killed()
            self._networks = None

    async def _serve(self, names: list[str]) -> None:
        folder = self.folder / f"networks-{next(self._generation)}"
        folder.mkdir(parents=True)
        ready = folder / "urls.json"
        args: dict[str, Any] = {"networks": names, "folder": str(folder), "ready": str(ready)}
        child = await self.forks.spawn("networks", folder / "log", **args)
        self._networks = child

        async def there() -> bool:
            assert child.alive, (folder / "log").read_text()
            return ready.exists()

        await eventually(there, what=f"the networks of lane {self.number}")
        self.urls = json.loads(ready.read_text())
        self._left = _RUNS_PER_NETWORK


@dataclass
class House:
    """The servers of all runs."""

    folder: Path
    temporal: str
    forks: Forks
    databases: "Databases"

    def lanes(self, count: int) -> list[Lane]:
        """So many lanes; close each at its end."""
        mark = uuid.uuid4().hex[:6]
        return [
            Lane(number, self.folder / f"lane-{mark}-{number}", self.forks)
            for number in range(count)
        ]


class Databases:
    """Fresh databases, some made ahead: a run must wait neither for its own nor for its end."""

    def __init__(self, server: StackConfig) -> None:
        self._server = server
        self._ready: asyncio.Queue[tuple[str, AbstractAsyncContextManager[str]]] = asyncio.Queue(3)
        self._making: asyncio.Task[None] | None = None
        self._dropping: set[asyncio.Task[object]] = set()

    async def begin(self) -> None:
        """Take off what PostgreSQL does against the death of the machine: here only workers die."""
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            await admin(self._server, f"ALTER SYSTEM SET {setting} = off")
        await admin(self._server, "SELECT pg_reload_conf()")
        self._making = asyncio.create_task(self._make())

    async def aclose(self) -> None:
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        while not self._ready.empty():
            self._drop(self._ready.get_nowait()[1])
        await asyncio.gather(*self._dropping, return_exceptions=True)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[str]:
        """The URL of a fresh database, dropped some time after the block."""
        url, fresh = await self._ready.get()
        try:
            yield url
        finally:
            self._drop(fresh)

    async def _make(self) -> None:
        while True:
            fresh = fresh_database(self._server)
            await self._ready.put((await fresh.__aenter__(), fresh))

    def _drop(self, fresh: AbstractAsyncContextManager[str]) -> None:
        async def drop() -> None:
            await fresh.__aexit__(None, None, None)

        task = asyncio.create_task(drop())
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)


def provider_settings(urls: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The providers that use these simulators (provider id to address), in a hurry."""
    by_name = {name.removesuffix("-sim"): url for name, url in urls.items()}
    entries = simulated_providers(by_name)
    return {
        provider_id(name): {**entries[provider_id(name)], **_PACE.get(name, {})} for name in by_name
    }


def this_machine(folder: Path) -> dict[str, dict[str, Any]]:
    """The provider that runs processes here."""
    state = str(folder / "local")
    return {"local": {"type": "local", "state_dir": state, "isolation": "none", "stop_grace": 0.5}}


@asynccontextmanager
async def open_house(postgres: StackConfig, folder: Path) -> AsyncIterator[House]:
    """Start what all runs share, and end it."""
    options = [part for value in _TEMPORAL for part in ("--dynamic-config-value", value)]
    async with contextlib.AsyncExitStack() as stack:
        forks = await stack.enter_async_context(fork_server(folder / "forks.log"))
        env = await WorkflowEnvironment.start_local(
            dev_server_existing_path=temporal_program("temporal"),
            dev_server_extra_args=[*options, "--log-level", "error"],
        )
        await stack.enter_async_context(env)
        address = env.client.service_client.config.target_host
        databases = Databases(postgres)
        stack.push_async_callback(databases.aclose)
        await databases.begin()
        yield House(folder, address, forks, databases)
