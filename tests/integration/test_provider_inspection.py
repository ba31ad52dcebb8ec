"""A provider is asked what it holds now, over the API and a worker that has it open."""

from datetime import UTC, datetime
from importlib.metadata import version

import httpx
import pytest

from cortex.domain.providers.inspection import Inspection
from cortex.domain.states import JobState, LeaseState, RunState
from providers.base import TRIAL_IMAGE
from tests.api.support import check_problem
from tests.integration.conftest import Stage
from tests.integration.managed import URL, add, api, becomes, shared_api, shared_stage
from tests.support import eventually
from tests.support.fickle import FickleProvider, fickle, fickle_installed

__all__ = ["api", "fickle", "fickle_installed", "shared_api", "shared_stage"]
pytestmark = pytest.mark.integration
KEY = "planted-key-4711"


async def inspected(api: httpx.AsyncClient, provider_id: str = "f1", **query: str) -> Inspection:
    answer = await api.get(f"{URL}/{provider_id}/inspection", params=query)
    assert answer.status_code == 200, answer.text
    assert KEY not in answer.text
    return Inspection.model_validate_json(answer.content)


async def test_what_it_holds_and_which_calls_were_made(
    shared_stage: Stage, api: httpx.AsyncClient, fickle: type[FickleProvider]
) -> None:
    began = datetime.now(UTC)
    await add(api, run_seconds=-1, api_key=KEY)
    await becomes(api, "online")
    inspection = await inspected(api)
    assert (inspection.leases, inspection.trial.image, inspection.trial.paid) == ((), None, False)
    assert inspection.adapter.name == "tests.support.fickle:FickleProvider"
    assert TRIAL_IMAGE.startswith("busybox")

    job_id = await shared_stage.submit(command=["x"], placement={"providers": ["f1"]})

    async def runs() -> bool:
        return (await shared_stage.job(job_id)).state is JobState.RUNNING

    await eventually(runs, what="the job's start")
    inspection = await inspected(api)
    (held,) = inspection.leases
    assert (held.key, held.run_state) == (f"{job_id}-1", RunState.RUNNING)
    assert held.lease_state is LeaseState.ACTIVE
    steps = {tally.step for tally in inspection.calls}
    assert {"initialize", "prepare", "commit"} <= steps
    assert inspection.recording_since > began

    await api.post(f"/api/v1/jobs/{job_id}/cancel")
    await shared_stage.ended(job_id)
    inspection = await inspected(api, key=f"{job_id}-1", leases="false")
    assert {tally.keys for tally in inspection.calls} <= {(f"{job_id}-1",), ()}
    assert {"cancel", "forget", "usage"} <= {tally.step for tally in inspection.calls}
    assert (await inspected(api)).leases == ()
    fickle.switches["main"].down = f"maintenance, says {KEY}"
    quotes = {"command": ["x"], "placement": {"providers": ["f1"]}}
    await api.post("/api/v1/quotes", json=quotes)
    assert any(call.odd for call in (await inspected(api)).calls)


async def test_the_package_of_an_adapter(api: httpx.AsyncClient) -> None:
    adapter = (await inspected(api, "null")).adapter
    assert (adapter.type, adapter.package) == ("null", "cortex-orchestrator")
    assert adapter.version == version("cortex-orchestrator")


async def test_one_that_is_not_there_or_not_open(api: httpx.AsyncClient) -> None:
    check_problem(await api.get(f"{URL}/nowhere/inspection"), 404, "not_found")
    check_problem(await api.get(f"{URL}/null/inspection?after=now"), 422, "invalid_request")
    await add(api)
    await becomes(api, "online")
    await api.post(f"{URL}/f1/disable")
    problem = check_problem(await api.get(f"{URL}/f1/inspection"), 503, "service_unavailable")
    assert (
        "no worker has provider `f1` open now" in problem.detail or "switched off" in problem.detail
    )
