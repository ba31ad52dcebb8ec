"""What running jobs took of their machines: written a round at a time, read in steps of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from cortex.db.base import Access, Repository, Row, Writes
from cortex.domain.metrics import Measured, Progress

Attempt = tuple[str, int]
"""A job and one attempt of it."""

_ADD: Final = text("""
INSERT INTO job_metrics (job_id, attempt, created_at, cpu, cpu_seconds, memory, memory_peak,
    network_received, network_sent, disk_read, disk_written, gpu, gpu_memory)
SELECT * FROM unnest(CAST(:job_id AS text[]), CAST(:attempt AS smallint[]),
    CAST(:created_at AS timestamptz[]), CAST(:cpu AS real[]),
    CAST(:cpu_seconds AS double precision[]), CAST(:memory AS bigint[]),
    CAST(:memory_peak AS bigint[]), CAST(:network_received AS bigint[]),
    CAST(:network_sent AS bigint[]), CAST(:disk_read AS bigint[]),
    CAST(:disk_written AS bigint[]), CAST(:gpu AS real[]), CAST(:gpu_memory AS bigint[]))
ON CONFLICT DO NOTHING
""")
_LAST: Final = text("""
SELECT a.job_id, a.attempt, m.created_at, m.cpu_seconds, m.memory_peak
FROM unnest(CAST(:job_id AS text[]), CAST(:attempt AS smallint[])) AS a(job_id, attempt)
CROSS JOIN LATERAL (
    SELECT created_at, cpu_seconds, memory_peak FROM job_metrics
    WHERE job_id = a.job_id AND attempt = a.attempt
    ORDER BY created_at DESC LIMIT 1
) m
""")
# A counter is shown as it was at the end of its step: in one, attempts do not overlap.
_POINTS: Final = text("""
SELECT w.number, p.* FROM unnest(
    CAST(:job_id AS text[]), CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[]),
    CAST(:step AS integer[])
) WITH ORDINALITY AS w(job_id, since, until, step, number)
CROSS JOIN LATERAL (
    SELECT date_bin(make_interval(secs => w.step), created_at, timestamptz 'epoch')
            AS time,
        max(attempt) AS attempt,
        min(cpu) AS cpu_min, avg(cpu) AS cpu_avg, max(cpu) AS cpu_max,
        min(memory) AS memory_min, avg(memory)::bigint AS memory_avg, max(memory) AS memory_max,
        min(gpu) AS gpu_min, avg(gpu) AS gpu_avg, max(gpu) AS gpu_max,
        min(gpu_memory) AS gpu_memory_min, avg(gpu_memory)::bigint AS gpu_memory_avg,
        max(gpu_memory) AS gpu_memory_max,
        max(cpu_seconds) AS cpu_seconds, max(network_received) AS network_received,
        max(network_sent) AS network_sent, max(disk_read) AS disk_read,
        max(disk_written) AS disk_written
    FROM job_metrics
    WHERE job_id = w.job_id AND created_at >= w.since AND created_at < w.until
    GROUP BY 1 ORDER BY 1
) p
""")
_SAMPLED: Final = (
    "memory",
    "network_received",
    "network_sent",
    "disk_read",
    "disk_written",
    "gpu",
    "gpu_memory",
)


@dataclass(frozen=True)
class Window:
    """What is to be shown of a job: from `since`, up to `until`, in steps of so many seconds."""

    job_id: str
    since: datetime
    until: datetime
    step: int


@dataclass(frozen=True)
class Spread:
    """The least, the average and the most of a step."""

    min: float
    avg: float
    max: float


@dataclass(frozen=True)
class Point:
    """All that was measured within a step, which begins at `time`; None: it was not told.

    Counters are those of the attempt, at the end of the step.
    """

    time: datetime
    attempt: int
    cpu: Spread | None
    memory: Spread | None
    gpu: Spread | None
    gpu_memory: Spread | None
    cpu_seconds: float | None
    network_received: int | None
    network_sent: int | None
    disk_read: int | None
    disk_written: int | None


class MetricRepository(Repository[Access]):
    async def add(
        self: "MetricRepository[Writes]", rows: Sequence[tuple[Attempt, Measured]]
    ) -> None:
        """Write down a round. What is there already of the same moment stays.

        Raises:
            IntegrityError: there is no partition for the time.
        """
        values: dict[str, list[Any]] = {
            "job_id": [job_id for (job_id, _), _ in rows],
            "attempt": [attempt for (_, attempt), _ in rows],
            "created_at": [each.progress.at for _, each in rows],
            "cpu": [each.cpu for _, each in rows],
            "cpu_seconds": [each.progress.cpu_seconds for _, each in rows],
            "memory_peak": [each.progress.memory_peak for _, each in rows],
        }
        for name in _SAMPLED:
            values[name] = [getattr(each.sample, name) for _, each in rows]
        await self.connection.execute(_ADD, values)

    async def last(self, attempts: Sequence[Attempt]) -> dict[Attempt, Progress]:
        """How far the counters had come, of those attempts of which something is known."""
        values = {
            "job_id": [job_id for job_id, _ in attempts],
            "attempt": [attempt for _, attempt in attempts],
        }
        rows = (await self.connection.execute(_LAST, values)).mappings()
        return {
            (row["job_id"], row["attempt"]): Progress(
                at=row["created_at"],
                cpu_seconds=row["cpu_seconds"],
                memory_peak=row["memory_peak"],
            )
            for row in rows
        }

    async def points(self, windows: Sequence[Window]) -> list[list[Point]]:
        """What is to be shown in each of them, oldest first."""
        values = {
            name: [getattr(window, name) for window in windows]
            for name in ("job_id", "since", "until", "step")
        }
        points: list[list[Point]] = [[] for _ in windows]
        for row in (await self.connection.execute(_POINTS, values)).mappings():
            point = Point(
                time=row["time"],
                attempt=row["attempt"],
                cpu=_spread(row, "cpu"),
                memory=_spread(row, "memory"),
                gpu=_spread(row, "gpu"),
                gpu_memory=_spread(row, "gpu_memory"),
                cpu_seconds=row["cpu_seconds"],
                network_received=row["network_received"],
                network_sent=row["network_sent"],
                disk_read=row["disk_read"],
                disk_written=row["disk_written"],
            )
            points[row["number"] - 1].append(point)
        return points


def _spread(row: Row, name: str) -> Spread | None:
    if row[f"{name}_max"] is None:
        return None
    return Spread(min=row[f"{name}_min"], avg=row[f"{name}_avg"], max=row[f"{name}_max"])
