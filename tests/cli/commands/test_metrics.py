"""`cortex metrics` against a real API."""

import json

import httpx

from cortex.db.engine import Database
from cortex.schemas.metrics import JobMetrics
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.routes.test_metrics import measured, running
from tests.api.support import AUTH, serve
from tests.cli.commands.test_trace import call
from tests.db.jobs.test_metrics import end

__all__ = ["providers", "settings"]


async def test_a_job_as_a_picture_and_as_json(
    settings: Settings, providers: None, database: Database
) -> None:
    async with (
        serve(settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers=AUTH) as client,
    ):
        job_id, began = await running(client, database)
        assert "nothing was measured" in (await call(url, "metrics", job_id)).output
        await measured(database, job_id, began, 1.0, 2.0, 3.0)
        shown = (await call(url, "metrics", job_id)).output
        assert "cores" in shown
        assert "2s of CPU" in shown or "2.0 s of CPU" in shown
        told = await call(url, "metrics", job_id, "--step", "1", "--json")
        assert len(JobMetrics.model_validate_json(told.output).points) >= 3
        assert (await call(url, "metrics", job_id, "--since", "x")).exit_code == 2
        (busy,) = (await call(url, "top", "--json")).output.splitlines()
        assert json.loads(busy)["id"] == job_id
        assert job_id in (await call(url, "top")).output
        await end(database, job_id)
        assert "no job runs" in (await call(url, "top")).output
        watched = await call(url, "metrics", job_id, "--watch", "--json")
        assert watched.exit_code == 0
        assert len(watched.output.splitlines()) == 1
