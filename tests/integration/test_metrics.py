"""What a real job takes, from its processes through the monitor to the API."""

import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from cortex.schemas.jobs import JobView
from cortex.schemas.metrics import JobMetrics
from tests.api.support import JOBS, client_of
from tests.integration.conftest import StageMaker
from tests.integration.test_jobs import LOCAL
from tests.support import eventually

pytestmark = pytest.mark.slow
# Works for a second, then waits for a file.
_WORK = "import os, time\nx = b'x' * (64 << 20)\nwhile time.process_time() < 1: pass\n"
_WAIT = "while not os.path.exists('go'): time.sleep(0.05)"


async def test_a_job_from_its_begin_to_its_end(make_stage: StageMaker) -> None:
    stage = await make_stage(local={**LOCAL, "isolation": "none"})
    jobs = stage.settings.jobs.model_copy(update={"metrics_interval": timedelta(seconds=0.2)})
    stage = replace(stage, settings=stage.settings.model_copy(update={"jobs": jobs}))
    async with stage.worker() as worker, client_of(stage.settings) as client:
        job_id = await stage.submit(command=[sys.executable, "-S", "-c", _WORK + _WAIT])
        told: list[JobMetrics] = []

        async def worked() -> bool:
            answer = await client.get(f"{JOBS}/{job_id}/metrics", params={"step": 1})
            told.append(JobMetrics.model_validate_json(answer.content))
            points = told[-1].points
            return bool(points) and (points[-1].cpu_seconds or 0) >= 1

        await eventually(worked, what="a second of CPU time")
        assert told[-1].reported == ("cpu", "memory")
        most = max(point.memory.max for point in told[-1].points if point.memory)
        assert most >= 64 << 20
        (ref,) = await worker.fleet.get("local").owned()
        assert ref.key.startswith(job_id)
        folder = stage.settings.data_dir / "providers" / "local" / ref.key / "work"
        (folder / "go").touch()
        assert (await stage.ended(job_id)).state.value == "completed"
        answer = await client.get(f"{JOBS}/{job_id}")
        used = JobView.model_validate_json(answer.content).resources_used
        assert used is not None
        assert (used.cpu_seconds or 0) >= 1
        assert (used.memory_peak or 0) >= most
