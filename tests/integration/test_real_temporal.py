"""Jobs through Temporal's own server on PostgreSQL, as docker-compose.temporal.yml runs it."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client

from cortex.db.engine import Database
from cortex.domain.jobs import Job, Reason
from cortex.domain.states import JobState
from tests.integration.conftest import Stage, stage_on
from tests.integration.test_jobs import LOCAL, cancel, check_books, sh
from tests.support import eventually
from tests.support.real_temporal import RealTemporal, programs, real_temporal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(programs() is None, reason="run `make real-temporal` first (20 minutes)"),
]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ctx-real-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[RealTemporal]:
    async with real_temporal(folder) as started:
        yield started


@pytest.fixture
async def stage(
    server: RealTemporal, database_url: str, database: Database, tmp_path: Path
) -> Stage:
    temporal = await Client.connect(server.address)
    return await stage_on(database_url, database, temporal, tmp_path, local=LOCAL)


async def ended(stage: Stage, *job_ids: str) -> list[Job]:
    jobs = [await stage.ended(job_id, within=60) for job_id in job_ids]
    for job in jobs:
        await check_books(stage, job)
    return jobs


async def test_jobs_end_as_they_do_on_the_embedded_server(stage: Stage) -> None:
    async with stage.worker():
        good = await stage.submit(**sh("echo done"))
        bad = await stage.submit(**sh("exit 3", retries=1))
        late = await stage.submit(**sh("sleep 60", duration="2s"))
        endless = await stage.submit(**sh("echo on; sleep 300"))
        await eventually(partial(_in, stage, endless, JobState.RUNNING), within=60)
        await cancel(stage, endless)
        told = await ended(stage, good, bad, late, endless)
    assert [(job.state, job.reason) for job in told] == [
        (JobState.COMPLETED, Reason.EXITED),
        (JobState.FAILED, Reason.EXITED),
        (JobState.FAILED, Reason.DEADLINE),
        (JobState.CANCELLED, Reason.CANCELLED),
    ]
    assert told[1].attempt == 2


async def test_workflows_are_found_by_their_search_attributes(stage: Stage) -> None:
    async with stage.worker():
        (job,) = await ended(stage, await stage.submit(**sh("true")))

        async def found() -> bool:
            query = "CortexProvider = 'local' AND CortexUser = 'tester'"
            return [run.id async for run in stage.client.list_workflows(query)] == [job.id]

        await eventually(found, within=60, what="the workflow in the visibility store")


async def test_a_server_that_is_killed_loses_no_job(stage: Stage, server: RealTemporal) -> None:
    async with stage.worker():
        running = [await stage.submit(**sh("echo on; sleep 4; echo off")) for _ in range(5)]
        for job_id in running:
            await eventually(partial(_in, stage, job_id, JobState.RUNNING), within=60)
        await server.end(signal.SIGKILL)
        waiting = [await stage.submit(**sh("true")) for _ in range(5)]
        await asyncio.sleep(5)  # the jobs end meanwhile, and nobody can be told
        await server.start()
        told = await ended(stage, *running, *waiting)
    assert {job.state for job in told} == {JobState.COMPLETED}


async def _in(stage: Stage, job_id: str, state: JobState) -> bool:
    return (await stage.job(job_id)).state == state
