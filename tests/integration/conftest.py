"""A worker in this process, on a database and a Temporal namespace of its own."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.client import Client, Interceptor
from temporalio.service import RPCError

from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.domain.ids import new_id
from cortex.domain.jobs import Job
from cortex.domain.spec import JobSpec
from cortex.settings import (
    DatabaseSettings,
    JobSettings,
    MonitorSettings,
    ProviderSettings,
    Settings,
    TemporalSettings,
)
from cortex.temporal.client import connect
from tests.support import eventually
from worker import Service


@dataclass
class Stage:
    """Where jobs run in a test."""

    settings: Settings
    database: Database
    client: Client
    interceptors: Sequence[Interceptor] = ()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Service]:
        """A worker that serves all queues while the block runs."""
        service = await Service.open(self.settings, interceptors=self.interceptors)
        stop = asyncio.Event()
        task = asyncio.create_task(service.run(stop))
        try:
            yield service
        finally:
            stop.set()
            await task
            await service.aclose()
            await self._end_schedules()

    async def _end_schedules(self) -> None:
        """Nothing is to go on by the clock when nobody works there any more."""
        async for schedule in await self.client.list_schedules():
            with contextlib.suppress(RPCError):
                await self.client.get_schedule_handle(schedule.id).delete()

    async def submit(self, spec: JobSpec | None = None, **changes: Any) -> str:
        """Accept a job as the API does; its id."""
        spec = spec or JobSpec.model_validate({"command": ["true"], **changes})
        job_id = new_id("job")
        async with self.database.transaction() as tx:
            job = NewJob(job_id, "tester", spec)
            await tx.acceptance.store([job], [spec.model_dump(mode="json")], delay=timedelta(0))
        return job_id

    async def job(self, job_id: str) -> Job:
        async with self.database.transaction() as tx:
            return await tx.jobs.get(job_id)

    async def ended(self, job_id: str, within: float = 30.0) -> Job:
        """The job once it is terminal."""

        async def check() -> bool:
            return (await self.job(job_id)).state.terminal

        await eventually(check, within=within, what=f"the end of {job_id}")
        return await self.job(job_id)


StageMaker = Callable[..., Awaitable[Stage]]


async def stage_on(
    database_url: str, database: Database, temporal: Client, folder: Path, **providers: Any
) -> Stage:
    """A stage with the given providers, in a Temporal namespace of its own."""
    settings = Settings(
        data_dir=folder,
        database=DatabaseSettings(url=SecretStr(database_url)),
        temporal=TemporalSettings(
            address=temporal.service_client.config.target_host,
            namespace=f"t-{uuid.uuid4().hex[:8]}",
            retention=timedelta(days=1),
        ),
        jobs=JobSettings(heartbeat_timeout=timedelta(seconds=3)),
        monitor=MonitorSettings(heartbeat_timeout=timedelta(seconds=3)),
        providers={
            name: ProviderSettings.model_validate(entry) for name, entry in providers.items()
        },
    )
    return Stage(settings, database, await connect(settings.temporal))


@pytest.fixture
async def make_stage(
    database_url: str, database: Database, temporal: Client, tmp_path: Path
) -> StageMaker:
    """Makes a stage with the given providers: `make_stage(null={"type": "null"})`."""

    async def make(**providers: dict[str, Any]) -> Stage:
        return await stage_on(database_url, database, temporal, tmp_path, **providers)

    return make
