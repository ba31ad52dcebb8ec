"""What a running job costs while nothing happens: history events, and memory per process."""

import asyncio
import time
from datetime import timedelta

import psutil
from sqlalchemy import text

from bench.stage import Stage, memory_of, open_stage
from cortex.db.jobs.repository import NewJob
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from cortex.temporal.contracts import monitor_id

_SPEC = JobSpec(command=("sleep", "86400"))
_BATCH = 100
_NOW = timedelta(0)


async def measure(*, jobs: int, seconds: float) -> str:
    """Events per job-hour and memory per job, as a table."""
    async with open_stage({"run_seconds": -1}) as stage, stage.worker():
        memory_before = _memory(stage)
        ids = await fill(stage, jobs)
        memory_after = _memory(stage)
        before = await histories(stage, ids)
        beats = (
            await stage.client.get_workflow_handle(monitor_id("null")).describe()
        ).history_length
        started = time.monotonic()
        await asyncio.sleep(seconds)
        took = time.monotonic() - started
        after = await histories(stage, ids)
        watched = (
            await stage.client.get_workflow_handle(monitor_id("null")).describe()
        ).history_length
    per_hour = (after - before) / jobs * 3600 / took
    lines = [
        f"2. {jobs} running jobs for {took:.0f} s in which nothing happens",
        f"   history events of all jobs: {before} before, {after} after: "
        f"{per_hour:.2f} per job-hour; of the monitor: {watched - beats} new",
    ]
    for name, size in memory_after.items():
        grown = (size - memory_before[name]) / 1024 / jobs
        lines.append(f"   memory of {name:<9} {size / 2**20:6.0f} MiB, {grown:6.1f} KiB per job")
    return "\n".join(lines)


async def fill(stage: Stage, count: int) -> list[str]:
    """Accept so many jobs, and wait until all of them run; their ids."""
    ids = [new_id("job") for _ in range(count)]
    spec = _SPEC.model_dump(mode="json")
    for start in range(0, count, _BATCH):
        jobs = [NewJob(job_id, "bench", _SPEC) for job_id in ids[start : start + _BATCH]]
        async with stage.database.transaction() as tx:
            await tx.acceptance.store(jobs, [spec] * len(jobs), delay=_NOW)
    async with asyncio.timeout(1200 + count):
        while await _running(stage) < count:  # noqa: ASYNC110
            await asyncio.sleep(1)
    await asyncio.sleep(5)
    return ids


async def _running(stage: Stage) -> int:
    async with stage.database.reading() as tx:
        query = text("SELECT count(*) FROM jobs WHERE state = 'running'")
        return int((await tx.connection.execute(query)).scalar_one())


async def histories(stage: Stage, ids: list[str]) -> int:
    """How many events their histories have in all."""
    slots = asyncio.Semaphore(20)

    async def length(job_id: str) -> int:
        async with slots:
            return (await stage.client.get_workflow_handle(job_id).describe()).history_length

    return sum(await asyncio.gather(*(length(job_id) for job_id in ids)))


def _memory(stage: Stage) -> dict[str, int]:
    return {"worker": psutil.Process().memory_info().rss, **memory_of(stage)}
