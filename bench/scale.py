"""Many running jobs on a provider that runs nothing: what they cost, and what still goes quickly.

The worker is a process of its own, as in production: its memory is measured, and it is restarted.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from sqlalchemy import text

from bench.idle import fill, histories
from bench.stage import Stage, memory_of, open_stage
from cortex.db.outbox.commands import Command
from cortex.domain.states import JobState
from cortex.temporal.contracts import monitor_id
from cortex.temporal.outbox.deliver import deliver
from providers.null import NullConfig, NullProvider

_NULL = {"run_seconds": -1}
_PATIENCE = 300.0
_POLL = 0.02
_ROOT = Path(__file__).parent.parent


async def measure(*, jobs: int, seconds: float) -> str:
    """Everything about so many running jobs, `seconds` of which nothing happens; as a table."""
    async with open_stage(_NULL) as stage:
        async with _worker(stage) as worker:
            empty = _memory(stage, worker)
            began = time.monotonic()
            ids = await fill(stage, jobs)
            filled = time.monotonic() - began
            full = _memory(stage, worker)
            before, watched = await histories(stage, ids), await _monitor_events(stage)
            began = time.monotonic()
            await asyncio.sleep(seconds)
            idle = time.monotonic() - began
            after, beats = await histories(stage, ids), await _monitor_events(stage)
            reading, asking = await _round(stage)
            cancel = await _cancel(stage, ids[len(ids) // 2])
            began = time.monotonic()
        async with _worker(stage):
            await _cancel(stage, ids[0])
            restart = time.monotonic() - began
    lines = [
        f"6. {jobs} running jobs, filled in {filled:.0f} s ({jobs / filled:.1f}/s)",
        f"   {idle:.0f} s of nothing: {(after - before) / jobs * 3600 / idle:.2f} history events "
        f"per job-hour; {beats - watched} of the monitor",
        f"   a round of the monitor: {reading:.2f} s to read the leases, {asking:.2f} s to ask",
        f"   cancel of one among them: {cancel:.2f} s until it has ended",
        f"   restart of the worker: {restart:.1f} s from SIGTERM until the next ended a job",
    ]
    for name, size in full.items():
        grown = (size - empty[name]) / 1024 / jobs
        lines.append(f"   memory of {name:<9} {size / 2**20:6.0f} MiB, {grown:6.1f} KiB per job")
    return "\n".join(lines)


@asynccontextmanager
async def _worker(stage: Stage) -> AsyncIterator[psutil.Process]:
    """A worker process while the block runs, ended by SIGTERM."""
    settings = stage.settings
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CORTEX_")},
        "CORTEX_DATA_DIR": str(settings.data_dir),
        "CORTEX_CONFIG": str(settings.data_dir / "none.toml"),
        "CORTEX_DATABASE__URL": settings.database.url.get_secret_value(),
        "CORTEX_TEMPORAL__ADDRESS": settings.temporal.address,
        "CORTEX_TEMPORAL__NAMESPACE": settings.temporal.namespace,
        "CORTEX_PROVIDERS": json.dumps({"null": {"type": "null", **_NULL}}),
        "CORTEX_TELEMETRY__LOG_LEVEL": "WARNING",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker"), cwd=_ROOT, env=environment
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _monitor_events(stage: Stage) -> int:
    monitor = stage.client.get_workflow_handle(monitor_id("null"))
    return (await monitor.describe()).history_length


async def _round(stage: Stage) -> tuple[float, float]:
    """Seconds of the two parts of a monitor's round that grow with the number of leases."""
    began = time.monotonic()
    async with stage.database.transaction() as tx:
        leases = await tx.leases.watched("null")
    read = time.monotonic()
    network = NullProvider("null", NullConfig(run_seconds=-1))
    await network.statuses([lease.ref for lease in leases if lease.ref is not None])
    return read - began, time.monotonic() - read


async def _cancel(stage: Stage, job_id: str) -> float:
    """Cancel a job as the API does; seconds until it has ended."""
    began = time.monotonic()
    async with stage.database.transaction() as tx:
        await tx.jobs.lock(job_id)
        await tx.jobs.move(job_id, JobState.CANCELLING, message="cancel requested")
        job = await tx.jobs.get(job_id)
    command = Command(id=0, job_id=job_id, kind="cancel", payload={}, attempts=1)
    await deliver(stage.client, command, job, stage.settings.jobs)
    query = text("SELECT state FROM jobs WHERE id = :id")
    async with asyncio.timeout(_PATIENCE):
        while True:
            async with stage.database.reading() as tx:
                state = (await tx.connection.execute(query, {"id": job_id})).scalar_one()
            if JobState(state).terminal:
                return time.monotonic() - began
            await asyncio.sleep(_POLL)


def _memory(stage: Stage, worker: psutil.Process) -> dict[str, int]:
    return {"worker": worker.memory_info().rss, **memory_of(stage)}
