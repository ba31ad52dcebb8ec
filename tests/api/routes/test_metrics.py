"""What jobs took of their machines, over the API: points, their steps, and why there are none."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from cortex.db.engine import Database
from cortex.db.tables.jobs import JobRow
from cortex.domain.ids import new_id
from cortex.domain.metrics import Measured, Metric, Progress, Sample
from cortex.domain.offers import Capabilities
from cortex.schemas.metrics import JobMetrics
from cortex.settings import Settings
from tests.api.support import JOBS, check_problem, client_of, submit
from tests.support.providers import known_provider


async def running(
    client: httpx.AsyncClient,
    database: Database,
    told: tuple[Metric, ...] = ("cpu", "memory"),
    minutes: int = 10,
) -> tuple[str, datetime]:
    """A job at a provider that tells this, and when it began."""
    # First: to submit a job is to read the providers, which are known for a moment then.
    async with database.transaction() as tx:
        can = Capabilities(images=False, processes=True, metrics=told)
        await known_provider(tx, "net", "net", capabilities=can)
    job_id = await submit(client)
    began = datetime.now(UTC) - timedelta(minutes=minutes)
    async with database.transaction() as tx:
        values = {
            "state": "running",
            "attempt": 1,
            "provider_id": "net",
            "created_at": began,
            "started_at": began,
        }
        await tx.connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    return job_id, began


async def measured(database: Database, job_id: str, began: datetime, *cores: float) -> None:
    """A sample each second."""
    rows = [
        Measured(
            Sample(key="k", memory=1000 + number),
            core,
            Progress(at=began + timedelta(seconds=number), cpu_seconds=number, memory_peak=1),
        )
        for number, core in enumerate(cores)
    ]
    async with database.statement() as tx:
        await tx.metrics.add([((job_id, 1), row) for row in rows])


async def shown(client: httpx.AsyncClient, job_id: str, **params: Any) -> JobMetrics:
    answer = await client.get(f"{JOBS}/{job_id}/metrics", params=params)
    assert answer.status_code == 200, answer.text
    return JobMetrics.model_validate_json(answer.content)


class TestPoints:
    async def test_over_the_whole_run(self, client: httpx.AsyncClient, database: Database) -> None:
        job_id, began = await running(client, database)
        await measured(database, job_id, began, *([0.5] * 20), *([1.5] * 20))
        metrics = await shown(client, job_id)
        assert (metrics.provider_id, metrics.reported) == ("net", ("cpu", "memory"))
        assert (metrics.note, metrics.step) == ("", 10)
        assert metrics.since == began
        assert 4 <= len(metrics.points) <= 5
        first, last = metrics.points[0], metrics.points[-1]
        assert first.cpu is not None
        assert last.cpu is not None
        assert (first.cpu.avg, last.cpu.avg) == (0.5, 1.5)
        assert last.cpu_seconds == 39
        assert last.gpu is None

    async def test_in_steps_and_bounds_that_are_asked_for(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id, began = await running(client, database)
        await measured(database, job_id, began, *([1.0] * 30))
        since = (began + timedelta(seconds=5)).isoformat()
        until = (began + timedelta(seconds=9)).isoformat()
        metrics = await shown(client, job_id, since=since, until=until, step=1)
        assert metrics.step == 1
        assert sum(1 for point in metrics.points if point.cpu) >= 4
        assert [point.memory and point.memory.min for point in metrics.points][0] == 1005
        assert [point.memory and point.memory.max for point in metrics.points][-1] == 1008

    async def test_never_more_than_a_thousand(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id, began = await running(client, database, minutes=60)
        await measured(database, job_id, began, *([1.0] * 1500))
        metrics = await shown(client, job_id, step=1)
        assert metrics.step == 5
        assert len(metrics.points) <= 301

    async def test_bounds_the_wrong_way_round_are_refused(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id, _ = await running(client, database)
        wrong = {"since": "1m", "until": "5m"}
        answer = await client.get(f"{JOBS}/{job_id}/metrics", params=wrong)
        problem = check_problem(answer, 422, "invalid_request")
        assert [each.field for each in problem.errors] == ["since"]
        same = datetime.now(UTC).isoformat()
        metrics = await shown(client, job_id, since=same, until=same)
        assert metrics.points == ()
        assert "nothing was measured" in metrics.note


class TestNone:
    async def test_a_provider_that_reports_none(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id, _ = await running(client, database, told=())
        metrics = await shown(client, job_id)
        assert metrics.reported == ()
        assert metrics.note == "the provider `net` reports no metrics"

    async def test_a_job_that_waits(self, client: httpx.AsyncClient) -> None:
        metrics = await shown(client, await submit(client))
        assert metrics.note == "the job has not been given to a provider yet"

    async def test_where_they_are_switched_off(
        self, settings: Settings, providers: None, database: Database
    ) -> None:
        jobs = settings.jobs.model_copy(update={"metrics_interval": timedelta(0)})
        async with client_of(settings.model_copy(update={"jobs": jobs})) as client:
            job_id, _ = await running(client, database)
            assert "`jobs.metrics_interval` is 0" in (await shown(client, job_id)).note

    async def test_no_such_job(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(f"{JOBS}/{new_id('job')}/metrics")
        check_problem(answer, 404, "not_found")

    @pytest.mark.parametrize("step", ["0", "-1", "1.0", "x", "99999999"])
    async def test_a_step_that_is_none(self, client: httpx.AsyncClient, step: str) -> None:
        answer = await client.get(f"{JOBS}/{new_id('job')}/metrics", params={"step": step})
        check_problem(answer, 422, "invalid_request")
