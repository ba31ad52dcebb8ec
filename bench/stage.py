"""PostgreSQL and Temporal of their own, as `cortex up` runs them, for one benchmark run."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr
from temporalio.client import Client

from cortex.db.engine import Database
from cortex.db.migrate import migrate
from cortex.embedded.child import Child
from cortex.embedded.config import StackConfig
from cortex.embedded.postgres import create_database, postgres_service
from cortex.embedded.service import Service as EmbeddedService
from cortex.embedded.temporal import temporal_service
from cortex.settings import (
    DatabaseSettings,
    MonitorSettings,
    ProviderSettings,
    Settings,
    TemporalSettings,
)
from cortex.temporal.client import connect, prepare_namespace
from worker import Service


@dataclass
class Stage:
    config: StackConfig
    settings: Settings
    database: Database
    client: Client
    pids: dict[str, int]

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Service]:
        """A worker in this process while the block runs."""
        service = await Service.open(self.settings)
        stop = asyncio.Event()
        task = asyncio.create_task(service.run(stop))
        await asyncio.sleep(1)
        try:
            yield service
        finally:
            stop.set()
            await task
            await service.aclose()


@asynccontextmanager
async def open_stage(null: dict[str, Any], *, temporal: str | None = None) -> AsyncIterator[Stage]:
    """Servers on free ports in a temporary folder, and one provider that runs nothing.

    With `temporal`, the Temporal server at that address is used, in a namespace of its own that
    is left there.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ctx-bench-")))
        os.chmod(folder, 0o755)
        config = StackConfig.free(folder)
        config.save()
        postgres = await _run(stack, config, postgres_service(config))
        await _on_pythons_loop(create_database(config))
        pids = {"postgres": postgres.pid or 0}
        options = {"address": temporal, "namespace": f"bench-{uuid.uuid4().hex[:8]}"}
        if temporal is None:
            server = await _run(stack, config, temporal_service(config))
            pids["temporal"] = server.pid or 0
            options = {"address": config.temporal_address}
        settings = Settings(
            data_dir=folder,
            database=DatabaseSettings(url=SecretStr(config.database_url)),
            temporal=TemporalSettings.model_validate(options),
            monitor=MonitorSettings(),
            providers={"null": ProviderSettings.model_validate({"type": "null", **null})},
        )
        database = Database(settings.database)
        stack.push_async_callback(database.aclose)
        await migrate(database)
        client = await connect(settings.temporal, lazy=False)
        await prepare_namespace(client, settings.temporal.retention)
        yield Stage(config, settings, database, client, pids)


def memory_of(stage: Stage) -> dict[str, int]:
    """Bytes of each server; of PostgreSQL's processes without what they share."""
    memory = {}
    for name, pid in stage.pids.items():
        process = psutil.Process(pid)
        members = [process, *process.children(recursive=True)]
        memory[name] = sum(member.memory_full_info().pss for member in members)
    return memory


async def _run(stack: AsyncExitStack, config: StackConfig, service: EmbeddedService) -> Child:
    child = Child(service, run_dir=config.run_dir, logs_dir=config.logs_dir)
    if service.prepare is not None:
        await _on_pythons_loop(service.prepare())
    child.spawn()
    stack.push_async_callback(child.stop, asyncio.Event())
    await child.wait_ready()
    return child


async def _on_pythons_loop(work: Awaitable[None]) -> None:
    """The servers' own commands run as another user, which uvloop cannot."""

    async def run() -> None:
        await work

    await asyncio.to_thread(asyncio.run, run())
