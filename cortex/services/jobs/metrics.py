"""What jobs took of their machines, over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cortex.db.engine import Database
from cortex.db.jobs.metrics import Point, Spread, Window
from cortex.domain.jobs import Job
from cortex.domain.metrics import USUAL_POINTS, Metric, step_for
from cortex.schemas.metrics import JobMetrics, MetricPoint, SpreadView
from cortex.services.providers.queries import ProviderRegistry
from cortex.settings import JobSettings

_A_MOMENT: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        since: None: from the job's start on.
        until: None: up to its end, or now.
        step: Seconds from one point to the next; None: what makes about `points`.
        points: See `step`.
    """

    since: datetime | None = None
    until: datetime | None = None
    step: int | None = None
    points: int = USUAL_POINTS


class MetricQueries:
    """Reads what was measured."""

    def __init__(
        self, database: Database, registry: ProviderRegistry, settings: JobSettings
    ) -> None:
        self._database = database
        self._registry = registry
        self._settings = settings

    async def of_job(self, job_id: str, asked: Asked) -> JobMetrics:
        """Of one job.

        Raises:
            NotFound: there is no such job.
        """
        async with self._database.reading() as tx:
            job = await tx.jobs.get(job_id)
        return (await self._of([(job, asked)]))[0]

    async def of_jobs(self, asked: Sequence[tuple[str, Asked]]) -> list[JobMetrics | None]:
        """The same of several at once, in this order; None for a job that is not there."""
        async with self._database.reading() as tx:
            jobs = await tx.jobs.get_many(list(dict.fromkeys(job_id for job_id, _ in asked)))
        by_id = {job.id: job for job in jobs}
        there = [(by_id[job_id], each) for job_id, each in asked if job_id in by_id]
        shown = iter(await self._of(there))
        return [next(shown) if job_id in by_id else None for job_id, _ in asked]

    async def _of(self, asked: Sequence[tuple[Job, Asked]]) -> list[JobMetrics]:
        reported: dict[str, tuple[Metric, ...]] = {
            each.id: each.capabilities.metrics if each.capabilities else ()
            for each in await self._registry.all()
        }
        now = datetime.now(UTC)
        windows = [_window(job, each, now) for job, each in asked]
        async with self._database.reading() as tx:
            points = await tx.metrics.points(windows)
        return [
            self._shown(job, window, some, reported)
            for (job, _), window, some in zip(asked, windows, points, strict=True)
        ]

    def _shown(
        self,
        job: Job,
        window: Window,
        points: Sequence[Point],
        reported: Mapping[str, tuple[Metric, ...]],
    ) -> JobMetrics:
        told = reported.get(job.provider_id or "", ())
        return JobMetrics(
            job_id=job.id,
            provider_id=job.provider_id,
            reported=told,
            note="" if points else self._why_none(job, told),
            since=window.since,
            until=window.until,
            step=window.step,
            points=tuple(map(_point, points)),
        )

    def _why_none(self, job: Job, told: Sequence[Metric]) -> str:
        if job.provider_id is None:
            return "the job has not been given to a provider yet"
        if not told:
            return f"the provider `{job.provider_id}` reports no metrics"
        if not self._settings.metrics_interval:
            return "metrics are switched off (`jobs.metrics_interval` is 0)"
        if job.started_at is None:
            return "the job has not run yet"
        return "nothing was measured in this time, or it is not kept any more"


def _window(job: Job, asked: Asked, now: datetime) -> Window:
    """What there can be of a job, and is asked for."""
    first = job.attempt <= 1
    began = (job.started_at if first else None) or job.created_at
    ends = (job.finished_at or now) + _A_MOMENT
    since = max(asked.since or began, job.created_at)
    until = max(since, min(asked.until or ends, ends))
    return Window(
        job_id=job.id,
        since=since,
        until=until,
        step=step_for(until - since, asked.step, points=asked.points),
    )


def _point(point: Point) -> MetricPoint:
    return MetricPoint(
        time=point.time,
        attempt=point.attempt,
        cpu=_spread(point.cpu),
        memory=_spread(point.memory),
        gpu=_spread(point.gpu),
        gpu_memory=_spread(point.gpu_memory),
        cpu_seconds=point.cpu_seconds,
        network_received=point.network_received,
        network_sent=point.network_sent,
        disk_read=point.disk_read,
        disk_written=point.disk_written,
    )


def _spread(spread: Spread | None) -> SpreadView | None:
    return None if spread is None else SpreadView(min=spread.min, avg=spread.avg, max=spread.max)
