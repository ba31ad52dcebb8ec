"""What jobs took: written a round at a time, read in steps, summed up by the newest row."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from cortex.db.engine import Database
from cortex.db.jobs.metrics import Attempt, Window
from cortex.db.tables.jobs import JobRow
from cortex.domain.ids import new_id
from cortex.domain.metrics import Measured, Progress, Sample
from cortex.schemas.jobs import JobView
from tests.activities.monitor.test_usage import running

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def row(
    at: datetime, cpu: float | None, memory: int, total: float = 1.0, peak: int = 0
) -> Measured:
    sample = Sample(key="k", memory=memory, disk_read=memory // 2)
    return Measured(sample, cpu, Progress(at=at, cpu_seconds=total, memory_peak=peak or memory))


async def add(database: Database, attempt: Attempt, *rows: Measured) -> None:
    async with database.statement() as tx:
        await tx.metrics.add([(attempt, each) for each in rows])


def at(seconds: float) -> datetime:
    return TODAY + timedelta(seconds=seconds)


class TestPoints:
    async def test_least_average_and_most_of_each_step(self, database: Database) -> None:
        job_id = new_id("job")
        rows = [row(at(second), second / 10, second) for second in (0, 10, 20, 60, 70)]
        await add(database, (job_id, 1), *rows)
        async with database.reading() as tx:
            (points,) = await tx.metrics.points([Window(job_id, at(0), at(3600), 60)])
        assert [point.time for point in points] == [at(0), at(60)]
        first, second = points
        assert first.cpu is not None
        assert second.memory is not None
        assert (first.cpu.min, first.cpu.max) == (0, 2)
        assert first.cpu.avg == pytest.approx(1)
        assert (second.memory.min, second.memory.avg, second.memory.max) == (60, 65, 70)
        assert (first.disk_read, second.disk_read) == (10, 35)
        assert first.gpu is None
        assert first.network_sent is None

    async def test_only_what_is_asked_for(self, database: Database) -> None:
        one, other = new_id("job"), new_id("job")
        for job_id in (one, other):
            await add(database, (job_id, 1), *(row(at(number), 1, number) for number in range(4)))
        async with database.reading() as tx:
            some, none, all_of_other = await tx.metrics.points(
                [
                    Window(one, at(1), at(3), 1),
                    Window(new_id("job"), at(0), at(9), 1),
                    Window(other, at(0), at(9), 3),
                ]
            )
        assert [point.time for point in some] == [at(1), at(2)]
        assert none == []
        assert [point.memory and point.memory.max for point in all_of_other] == [2, 3]

    async def test_what_nobody_told_is_none(self, database: Database) -> None:
        job_id = new_id("job")
        await add(database, (job_id, 1), Measured(Sample(key="k"), None, Progress(at=at(0))))
        async with database.reading() as tx:
            ((point,),) = await tx.metrics.points([Window(job_id, at(0), at(1), 1)])
        assert (point.cpu, point.memory, point.cpu_seconds) == (None, None, None)


class TestAdd:
    async def test_the_same_moment_is_written_once(self, database: Database) -> None:
        job_id = new_id("job")
        await add(database, (job_id, 1), row(at(0), 1, 10))
        await add(database, (job_id, 1), row(at(0), 2, 20), row(at(1), 3, 30))
        async with database.reading() as tx:
            (points,) = await tx.metrics.points([Window(job_id, at(0), at(9), 1)])
        assert [point.memory and point.memory.max for point in points] == [10, 30]

    async def test_a_day_without_a_partition_is_told(self, database: Database) -> None:
        with pytest.raises(IntegrityError, match="no partition"):
            await add(database, (new_id("job"), 1), row(TODAY - timedelta(days=3), 1, 1))


async def test_the_last_of_each_attempt(database: Database) -> None:
    job_id = new_id("job")
    await add(database, (job_id, 1), row(at(0), 1, 10), row(at(5), 1, 20, total=4.5, peak=99))
    await add(database, (job_id, 2), row(at(9), 1, 30))
    async with database.reading() as tx:
        last = await tx.metrics.last([(job_id, 1), (job_id, 3)])
    assert last == {(job_id, 1): Progress(at=at(5), cpu_seconds=4.5, memory_peak=99)}


class TestSummary:
    async def test_is_shown_once_the_job_has_ended(self, database: Database) -> None:
        lease = await running(database, minutes=0)
        now = datetime.now(UTC) + timedelta(seconds=1)
        rows = [row(now + timedelta(milliseconds=n), 1, 10, total=n, peak=100 + n) for n in (1, 2)]
        await add(database, (lease.job_id, 1), *rows)
        assert (await shown(database, lease.job_id)).resources_used is None
        await end(database, lease.job_id)
        used = (await shown(database, lease.job_id)).resources_used
        assert used is not None
        assert (used.cpu_seconds, used.memory_peak) == (2, 102)

    async def test_of_a_job_that_was_never_measured_there_is_none(self, database: Database) -> None:
        lease = await running(database, minutes=0)
        await end(database, lease.job_id)
        assert (await shown(database, lease.job_id)).resources_used is None


async def end(database: Database, job_id: str) -> None:
    async with database.transaction() as tx:
        values = {"state": "completed", "finished_at": text("now()")}
        await tx.connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))


async def shown(database: Database, job_id: str) -> JobView:
    async with database.reading() as tx:
        return JobView.model_validate(json.loads(await tx.reads.job(job_id)))
