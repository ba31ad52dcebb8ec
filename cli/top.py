"""The jobs that run now, those first that take the most of their machines."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cli import render
from cli.state import State
from cortex.client import AsyncCortex, JobFilter
from cortex.schemas.jobs import JobSummary
from cortex.schemas.metrics import JobMetrics, MetricPoint

COLUMNS: Final = ("ID", "NAME", "PROVIDER", "CPU", "MEMORY", "GPU", "CPU TIME", "AGE")
RIGHT: Final = (3, 4, 5, 6, 7)
SPARE: Final = (5, 2, 6)
_LATELY: Final = timedelta(minutes=2)
_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Load:
    """What a job takes now; None: it is not known."""

    id: str
    name: str
    provider_id: str | None
    cpu: float | None
    memory: float | None
    gpu: float | None
    cpu_seconds: float | None
    age: str


async def loads(cortex: AsyncCortex, project: str | None, limit: int) -> list[Load]:
    """Of the newest jobs that run, the busiest first."""
    page = await cortex.jobs(JobFilter(state="running", project=project), limit=limit)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(job: JobSummary) -> Load:
        async with slots:
            return _load(job, await cortex.metrics(job.id, since=_LATELY))

    told = await asyncio.gather(*(one(job) for job in page.items))
    return sorted(told, key=lambda load: (load.cpu or 0.0, load.memory or 0.0), reverse=True)


def rows_of(all_loads: Sequence[Load]) -> list[tuple[str, ...]]:
    """The rows of the table."""
    return [
        (
            load.id,
            load.name,
            load.provider_id or "-",
            "-" if load.cpu is None else f"{load.cpu:.2f}",
            "-" if load.memory is None else render.size(round(load.memory)),
            "-" if load.gpu is None else f"{load.gpu:.0f} %",
            "-" if load.cpu_seconds is None else render.duration(load.cpu_seconds),
            load.age,
        )
        for load in all_loads
    ]


def show(state: State, all_loads: Sequence[Load]) -> None:
    """Print them."""
    if state.json:
        for load in all_loads:
            print(render.to_json(load), flush=True)
    elif all_loads:
        render.table(state, COLUMNS, rows_of(all_loads), right=RIGHT, spare=SPARE)
    else:
        render.say(state, "no job runs")


def _load(job: JobSummary, metrics: JobMetrics) -> Load:
    last: MetricPoint | None = metrics.points[-1] if metrics.points else None
    return Load(
        id=job.id,
        name=job.name,
        provider_id=job.provider_id,
        cpu=last.cpu.avg if last and last.cpu else None,
        memory=last.memory.avg if last and last.memory else None,
        gpu=last.gpu.avg if last and last.gpu else None,
        cpu_seconds=last.cpu_seconds if last else None,
        age=render.age(job.started_at or job.created_at),
    )
