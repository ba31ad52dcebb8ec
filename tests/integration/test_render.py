"""Render jobs through the real workflow and worker: every frame once, whatever happens between."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from cortex.domain.events import EventType
from cortex.domain.jobs import Job
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.domain.states import JobState
from providers.render import provider as render_provider
from providers.render.local import LocalRender
from tests.integration.conftest import Stage, StageMaker
from tests.integration.test_jobs import check_books
from tests.support import eventually

pytestmark = pytest.mark.slow
STAND_IN = Path(__file__).parents[2] / "simulators" / "render" / "standin.py"


@pytest.fixture
async def stage(make_stage: StageMaker, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """One renderer, with what stands in for Blender."""
    driver = partial(LocalRender, painter=STAND_IN)
    monkeypatch.setitem(render_provider._DRIVERS, "local", driver)
    return await make_stage(farm={"type": "render", "driver": "local", "isolation": "none"})


def render(tmp_path: Path, frames: str, *, scene: dict[str, Any], **render: Any) -> dict[str, Any]:
    path = tmp_path / "scene.blend"
    path.write_text(json.dumps(scene))
    return {
        "command": (),
        "render": {"scene": str(path), "frames": frames, **render},
        "placement": {"timeout": "60s"},
    }


async def frames_of(stage: Stage, job: Job) -> list[FrameStatus]:
    async with stage.database.transaction() as tx:
        return await tx.frames.of_job(job.id)


async def kept(stage: Stage, job: Job) -> dict[str, int]:
    """The frames' files that are kept and lie there, with their attempts."""
    async with stage.database.transaction() as tx:
        stored = await tx.outputs.of_job(job.id)
    for output in stored:
        assert (stage.settings.outputs_dir / job.id / output.path).stat().st_size == output.size
    return {output.path: output.attempt for output in stored if output.path.startswith("frames/")}


async def events(stage: Stage, job: Job) -> list[dict[str, Any]]:
    async with stage.database.transaction() as tx:
        page = await tx.events.page(None, job_id=job.id)
    return [event.data for event in page if event.type is EventType.JOB_FRAMES]


async def test_every_frame_is_recorded_and_kept(stage: Stage, tmp_path: Path) -> None:
    fields = render(tmp_path, "1-5", scene={"seconds": 0.3, "fails": {"3": 1}})
    async with stage.worker():
        job = await stage.ended(await stage.submit(**fields), within=60)
    assert job.state is JobState.COMPLETED, job.message
    assert job.progress == 1
    frames = await frames_of(stage, job)
    assert [(frame.frame, frame.attempts) for frame in frames] == [
        (1, 1),
        (2, 1),
        (3, 2),
        (4, 1),
        (5, 1),
    ]
    assert {frame.state for frame in frames} == {FrameState.DONE}
    costs = [frame.cost.amount for frame in frames if frame.cost]
    assert len(costs) == 5
    assert 0 < sum(costs) <= job.cost.amount
    assert set(await kept(stage, job)) == {frame.output for frame in frames}
    told = [frame for data in await events(stage, job) for frame in data["frames"]]
    assert sorted(frame["frame"] for frame in told) == [1, 2, 3, 4, 5]
    assert (await events(stage, job))[-1]["done"] == 5
    await check_books(stage, job)


async def test_a_lost_lease_does_not_cost_its_frames(stage: Stage, tmp_path: Path) -> None:
    fields = render(tmp_path, "1-8", scene={"seconds": 0.5})
    async with stage.worker():
        job_id = await stage.submit(**fields)
        job = await stage.job(job_id)

        async def two_done() -> bool:
            done = [f for f in await frames_of(stage, job) if f.state is FrameState.DONE]
            return len(done) >= 2

        await eventually(two_done, within=40, what="two frames")
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if any(word.endswith(f"{job_id}-1") for word in words):
                process.kill()
        job = await stage.ended(job_id, within=60)
    assert job.state is JobState.COMPLETED, job.message
    assert job.attempt == 2
    frames = await frames_of(stage, job)
    assert {frame.state for frame in frames} == {FrameState.DONE}
    files = await kept(stage, job)
    assert set(files) == {frame.output for frame in frames}
    assert set(files.values()) == {1, 2}
    # What the first lease had finished was rendered once; only what it was at is done again.
    assert sum(frame.attempts > 1 for frame in frames) <= 1
    assert frames[0].attempts == frames[1].attempts == 1
    await check_books(stage, job)


async def test_a_frame_that_never_succeeds(stage: Stage, tmp_path: Path) -> None:
    scene = {"fails": {"2": 99}}
    fields = render(tmp_path, "1-3", scene=scene, retries=1) | {"retries": 1}
    async with stage.worker():
        job = await stage.ended(await stage.submit(**fields), within=60)
    assert job.state is JobState.FAILED
    assert "frame 2 could not be rendered" in job.message
    assert job.attempt == 2
    frames = await frames_of(stage, job)
    assert [frame.attempts for frame in frames] == [1, 4, 1]
    assert [frame.state.value for frame in frames] == ["done", "failed", "done"]
    assert await kept(stage, job) == {frames[0].output: 1, frames[2].output: 1}
    await check_books(stage, job)
