"""Deadlines, and what is lost told from what failed, through workflow, activities and database."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cortex.domain.events import Event, EventType
from cortex.domain.jobs import Reason
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState
from cortex.domain.units import format_duration
from cortex.services.jobs.extend import LengthLimits, extend_job
from providers.conformance import slowdown
from tests.integration.conftest import Stage, StageMaker
from tests.integration.networks import network
from tests.integration.test_jobs import LOCAL, check_books, ledger, sh
from tests.support import eventually

pytestmark = pytest.mark.slow

ENDLESS: dict[str, Any] = {"type": "null", "run_seconds": -1}
"""A network that runs on until somebody stops it."""


def seconds(count: int) -> timedelta:
    """So many of an idle machine: a busy one gets to each step later."""
    return timedelta(seconds=count * math.ceil(slowdown()))


async def events(stage: Stage, job_id: str, kind: EventType) -> list[Event]:
    async with stage.database.transaction() as tx:
        page = await tx.events.page(None, job_id=job_id)
    return [event for event in page if event.type == kind]


class TestDeadline:
    async def test_is_kept_where_the_network_would_run_on(self, make_stage: StageMaker) -> None:
        stage = await make_stage(endless=ENDLESS)
        async with stage.worker() as worker:
            length = seconds(2)
            job = await stage.ended(await stage.submit(duration=length))
            assert not await worker.fleet.get("endless").owned()
        assert (job.state, job.reason) == (JobState.FAILED, Reason.DEADLINE)
        assert job.started_at is not None
        assert job.finished_at is not None
        assert length <= job.finished_at - job.started_at < length + 5 * length
        (warning,) = await events(stage, job.id, EventType.JOB_DEADLINE_NEAR)
        assert warning.data["message"].startswith("the job is ended in ")
        await check_books(stage, job)

    async def test_moves_by_itself_until_it_may_no_more(self, make_stage: StageMaker) -> None:
        stage = await make_stage(endless=ENDLESS)
        async with stage.worker():
            one = seconds(1)
            auto = {"by": 2 * one, "up_to": 5 * one}
            job = await stage.ended(await stage.submit(duration=2 * one, auto_extend=auto))
        assert (job.state, job.reason) == (JobState.FAILED, Reason.DEADLINE)
        assert job.extension == 3 * one
        assert job.started_at is not None
        assert job.finished_at is not None
        assert job.finished_at - job.started_at >= 5 * one
        extended = await events(stage, job.id, EventType.JOB_EXTENDED)
        assert [(event.data["by"], event.data["auto"]) for event in extended] == [
            (format_duration(2 * one), True),
            (format_duration(one), True),
        ]
        (warning,) = await events(stage, job.id, EventType.JOB_DEADLINE_NEAR)
        assert warning.data["not_extended"] == f"`auto_extend.up_to` is {format_duration(5 * one)}"
        kinds = [entry.kind for entry in await ledger(stage, job)]
        assert kinds.count(EntryKind.HOLD) == 3
        await check_books(stage, job)

    async def test_an_extension_that_comes_at_the_last_moment_counts(
        self, make_stage: StageMaker
    ) -> None:
        """It is committed when the workflow has seen the old deadline pass, and not heard of it."""
        stage = await make_stage(endless=ENDLESS)
        async with stage.worker():
            job_id = await stage.submit(duration=seconds(3))

            async def runs() -> bool:
                return (await stage.job(job_id)).state is JobState.RUNNING

            await eventually(runs, what=f"{job_id} running")
            async with stage.database.transaction() as tx:
                await tx.jobs.lock(job_id)  # what `POST /jobs/{id}/extend` holds
                limits = LengthLimits(timedelta(days=1))
                extended = await extend_job(tx, job_id, seconds(3), limits)
                await eventually(lambda: at_step(stage, job_id, "settle"), what="the old deadline")
            job = await stage.ended(job_id)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.DEADLINE)
        assert extended.deadline_at is not None
        assert job.finished_at is not None
        assert job.finished_at >= extended.deadline_at
        await check_books(stage, job)


async def at_step(stage: Stage, job_id: str, name: str) -> bool:
    """Whether an activity of the job's workflow is under way."""
    seen = await stage.client.get_workflow_handle(job_id).describe()
    return any(
        activity.activity_type.name == name for activity in seen.raw_description.pending_activities
    )


class TestWhoIsToBlame:
    async def test_a_loss_is_told_from_a_failure(
        self, make_stage: StageMaker, tmp_path: Path
    ) -> None:
        async with network("akash", tmp_path / "net") as net:
            stage = await make_stage(**{net.provider_id: net.entry()})
            async with stage.worker():
                job_id = await stage.submit(
                    image="busybox",
                    command=["sh", "-c", "sleep 60"],
                    retries={"on_lost": 1, "on_failure": 1},
                    placement={"timeout": "30s"},
                )
                await self._running(stage, job_id)
                await net.act("lose_lease", key=f"{job_id}-1")

                async def again() -> bool:
                    return (await stage.job(job_id)).losses == 1

                await eventually(again, within=30, what="the second attempt")
                await self._running(stage, job_id, attempt=2)
                await net.act("lose_lease", key=f"{job_id}-2")
                job = await stage.ended(job_id, within=60)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.LEASE_LOST)
        assert (job.losses, job.failures) == (1, 0)
        (retrying,) = await events(stage, job_id, EventType.JOB_RETRYING)
        assert retrying.data["cause"] == "lost"
        notes = [e.note for e in await ledger(stage, job) if e.kind == EntryKind.CHARGE]
        assert len(notes) == 2
        assert all(note.startswith("lost by the network after ") for note in notes)
        await check_books(stage, job)

    async def test_a_failure_is_told_from_a_loss(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            retries = {"on_failure": 2, "backoff": "1s", "max_backoff": "1s"}
            job = await stage.ended(await stage.submit(**sh("exit 7", retries=retries)))
        assert (job.reason, job.losses, job.failures) == (Reason.EXITED, 0, 2)
        causes = [e.data["cause"] for e in await events(stage, job.id, EventType.JOB_RETRYING)]
        assert causes == ["failed", "failed"]
        notes = [e.note for e in await ledger(stage, job) if e.kind == EntryKind.CHARGE]
        assert all(note.startswith("its command exited with 7 after ") for note in notes)
        await check_books(stage, job)

    async def test_a_bad_image_is_not_held_against_the_network(
        self, make_stage: StageMaker, tmp_path: Path
    ) -> None:
        async with network("akash", tmp_path / "net") as net:
            stage = await make_stage(**{net.provider_id: net.entry(ready_within=4)})
            async with stage.worker():
                job_id = await stage.submit(image="acme/no-such-image:1", retries={"on_lost": 0})
                job = await stage.ended(job_id, within=60)
        assert job.reason == Reason.IMAGE_UNAVAILABLE
        assert "the image cannot be pulled there" in job.message
        window = timedelta(days=1)
        async with stage.database.transaction() as tx:
            (record,) = (await tx.track.records(datetime.now(UTC) - window, window)).values()
        assert (record.leases, record.lost, record.refused) == (0, 0, 0)

    async def test_a_refusal_is_neither(self, make_stage: StageMaker) -> None:
        cheap = {"type": "docker", "socket": "/nonexistent/docker.sock"}
        stage = await make_stage(local=LOCAL, cheap=cheap)
        async with stage.worker():
            job = await stage.ended(await stage.submit(**sh("true")))
        assert (job.state, job.losses, job.failures) == (JobState.COMPLETED, 0, 0)

    async def _running(self, stage: Stage, job_id: str, attempt: int = 1) -> None:
        async def running() -> bool:
            job = await stage.job(job_id)
            return job.state == JobState.RUNNING and job.attempt == attempt

        await eventually(running, within=40, what=f"attempt {attempt} running")
