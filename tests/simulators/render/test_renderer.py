"""The farm behind the simulated gateway."""

from pathlib import Path

import pytest

from cortex.domain.leases import LeaseSnapshot
from cortex.domain.states import RunState
from simulators.kit.clock import Clock
from simulators.render.renderer import Farm, FarmJob, Submission
from simulators.render.settings import RenderSettings


async def test_a_cancellation_while_it_is_looked_at_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen before must not bring the job back."""
    farm = Farm(tmp_path, Clock(), RenderSettings(), stand_in=True)
    await farm.start()
    submission = Submission(client_ref="a", scene={"uri": "http://127.0.0.1/s.blend"}, frames="1-3")
    accepted = farm.accept(submission, "once")
    assert accepted is not None
    job, _ = accepted
    job.state = "rendering"

    async def seen_before(looked_at: FarmJob) -> LeaseSnapshot:
        await farm.cancel(looked_at)
        return LeaseSnapshot(key=job.key, state=RunState.RUNNING)

    monkeypatch.setattr(farm, "snapshot", seen_before)
    await farm.step(job)
    assert job.state == "cancelling"
    await farm.step(job)
    assert job.state == "cancelled"
