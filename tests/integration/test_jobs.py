"""Jobs through the real workflow, activities, database, Temporal server and local processes."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cortex.domain.events import EventType
from cortex.domain.jobs import Job, Reason
from cortex.domain.money.ledger import EntryKind, LedgerEntry
from cortex.domain.states import JOB_TRANSITIONS, JobState, LeaseState
from cortex.temporal.contracts import JOB_WORKFLOW
from tests.integration.conftest import Stage, StageMaker
from tests.support import eventually
from tests.support.rows import job_states, open_holds

LOCAL: dict[str, Any] = {"type": "local", "stop_grace": 0.5}


def sh(script: str, **changes: Any) -> dict[str, Any]:
    """The fields of a job that runs a shell script."""
    return {
        "command": ["sh", "-c", script],
        "resources": {"cpu": "1", "memory": "128Mi"},
        "placement": {"timeout": "10s"},
        **changes,
    }


async def ledger(stage: Stage, job: Job) -> list[LedgerEntry]:
    async with stage.database.transaction() as tx:
        return await tx.ledger.page(job_id=job.id)


async def check_books(stage: Stage, job: Job) -> None:
    """One charge per committed lease, one release per lease, no hold open, legal history."""
    entries = await ledger(stage, job)
    async with stage.database.transaction() as tx:
        leases = await tx.leases.of_job(job.id)
        history = await job_states(tx, job.id)
        assert not await open_holds(tx)
    for lease in leases:
        kinds = [entry.kind for entry in entries if entry.lease_key == lease.key]
        assert lease.state == LeaseState.RELEASED
        assert kinds.count(EntryKind.CHARGE) == (1 if lease.committed_at else 0)
        assert kinds.count(EntryKind.RELEASE) == 1
    charged = sum(e.amount.amount for e in entries if e.kind == EntryKind.CHARGE)
    assert job.cost.amount == charged
    assert history[0] == JobState.PENDING
    assert all(b in JOB_TRANSITIONS[a] for a, b in zip(history, history[1:], strict=False))


async def lines(stage: Stage, job_id: str) -> list[str]:
    async with stage.database.transaction() as tx:
        return [line.text for line in await tx.logs.read(job_id)]


class TestSuccess:
    async def test_runs_logs_keeps_outputs_and_bills(
        self, make_stage: StageMaker, tmp_path: Path
    ) -> None:
        stage = await make_stage(local=LOCAL)
        script = "echo one; echo two >&2; mkdir -p out; echo 42 > out/answer.txt; sleep 0.3"
        async with stage.worker():
            job_id = await stage.submit(**sh(script, outputs=["out"]))
            job = await stage.ended(job_id)
        assert (job.state, job.exit_code, job.provider_id) == (JobState.COMPLETED, 0, "local")
        assert await lines(stage, job_id) == ["one", "two"]
        async with stage.database.transaction() as tx:
            (output,) = await tx.outputs.of_job(job_id)
        assert output.path == "out/answer.txt"
        kept = stage.settings.outputs_dir / job_id / output.path
        assert kept.read_text() == "42\n"
        assert job.cost.amount > 0
        await check_books(stage, job)
        assert not list((tmp_path / "providers" / "local").glob(f"{job_id}*"))

    async def test_events_tell_the_story_in_order(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job = await stage.ended(await stage.submit(**sh("true")))
        async with stage.database.transaction() as tx:
            events = await tx.events.page(None, job_id=job.id)
        states = [e.data["state"] for e in events if e.type == EventType.JOB_STATE_CHANGED]
        assert states == ["placing", "deploying", "running", "settling", "completed"]
        kinds = [event.type for event in events]
        assert kinds.index(EventType.LEASE_INTENDED) < kinds.index(EventType.LEASE_ACTIVE)
        assert kinds.index(EventType.CHARGE_BOOKED) < kinds.index(EventType.LEASE_RELEASED)

    async def test_progress_lines_set_the_progress(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job_id = await stage.submit(**sh("echo ::progress 25% quarter; sleep 30"))

            async def quarter() -> bool:
                return (await stage.job(job_id)).progress == Decimal("0.25")

            await eventually(quarter, what="progress of 25 %")
            await cancel(stage, job_id)
            await stage.ended(job_id)

    async def test_secrets_reach_the_job_only(self, make_stage: StageMaker) -> None:
        """No key ring is configured here: a job without secrets must not need one."""
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job_id = await stage.submit(**sh('echo "$GREETING"', env={"GREETING": "hello"}))
            await stage.ended(job_id)
        assert await lines(stage, job_id) == ["hello"]


class TestFailure:
    async def test_exit_code_and_bill(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job = await stage.ended(await stage.submit(**sh("echo no >&2; exit 7")))
        assert (job.state, job.reason, job.exit_code) == (JobState.FAILED, Reason.EXITED, 7)
        assert await lines(stage, job.id) == ["no"]
        await check_books(stage, job)

    async def test_retry_is_a_new_lease_with_its_own_bill(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job = await stage.ended(await stage.submit(**sh("exit 1", retries=1)))
        assert (job.state, job.attempt) == (JobState.FAILED, 2)
        charges = [e for e in await ledger(stage, job) if e.kind == EntryKind.CHARGE]
        assert [entry.lease_key for entry in charges] == [f"{job.id}-1", f"{job.id}-2"]
        await check_books(stage, job)

    async def test_command_that_does_not_exist(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job = await stage.ended(await stage.submit(command=["no-such-program"]))
        assert (job.state, job.exit_code) == (JobState.FAILED, 127)
        await check_books(stage, job)

    async def test_deadline_kills_and_bills(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job = await stage.ended(
                await stage.submit(**sh("trap '' TERM; echo on; sleep 60", duration="2s"))
            )
        assert (job.state, job.reason) == (JobState.FAILED, Reason.DEADLINE)
        assert await lines(stage, job.id) == ["on"]
        await check_books(stage, job)

    async def test_over_budget_leases_nothing(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job = await stage.ended(
                await stage.submit(**sh("true", budget="0.000001 USD", duration="10h"))
            )
        assert (job.state, job.reason) == (JobState.FAILED, Reason.OVER_BUDGET)
        assert "budget" in job.message
        assert not await ledger(stage, job)

    async def test_fails_over_to_the_next_provider(self, make_stage: StageMaker) -> None:
        cheap = {"type": "docker", "socket": "/nonexistent/docker.sock"}
        stage = await make_stage(local=LOCAL, cheap=cheap)
        async with stage.worker():
            job = await stage.ended(await stage.submit(**sh("true")))
        assert (job.state, job.provider_id) == (JobState.COMPLETED, "local")


async def cancel(stage: Stage, job_id: str) -> None:
    """Ask for a cancellation as the API does."""
    async with stage.database.transaction() as tx:
        await tx.jobs.lock(job_id)
        if await tx.jobs.move(job_id, JobState.CANCELLING, message="cancel requested"):
            await tx.commands.add(job_id, "cancel", {"reason": "test"})


class TestCancel:
    async def test_running_job_with_children(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job_id = await stage.submit(
                **sh("trap '' TERM; sleep 71 & sleep 72 & echo up; sleep 73")
            )

            async def up() -> bool:
                return await lines(stage, job_id) == ["up"]

            await eventually(up, what="the job's first line")
            await cancel(stage, job_id)
            job = await stage.ended(job_id)
        assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)
        await check_books(stage, job)

    async def test_at_any_moment(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            ids = [await stage.submit(**sh("sleep 60")) for _ in range(8)]
            for number, job_id in enumerate(ids):
                await asyncio.sleep(0.05 * (number % 4))
                await cancel(stage, job_id)
            jobs = [await stage.ended(job_id) for job_id in ids]
        assert {job.state for job in jobs} == {JobState.CANCELLED}
        for job in jobs:
            await check_books(stage, job)


class TestOutbox:
    async def test_job_accepted_without_worker_starts_later(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        job_id = await stage.submit(**sh("true"))
        await asyncio.sleep(0.2)
        assert (await stage.job(job_id)).state == JobState.PENDING
        async with stage.worker():
            assert (await stage.ended(job_id)).state == JobState.COMPLETED

    async def test_commands_in_order_start_then_cancel(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        job_id = await stage.submit(**sh("sleep 60"))
        await cancel(stage, job_id)
        async with stage.worker():
            job = await stage.ended(job_id)

            async def delivered() -> bool:
                async with stage.database.transaction() as tx:
                    return await tx.commands.pending(job_id) == 0

            await eventually(delivered, what="both commands delivered")
        assert job.state == JobState.CANCELLED

    async def test_worker_handover_keeps_jobs_running(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job_id = await stage.submit(**sh("echo begun; sleep 4; echo done"))

            async def running() -> bool:
                return (await stage.job(job_id)).state == JobState.RUNNING

            await eventually(running, what="the job running")
        async with stage.worker():
            job = await stage.ended(job_id)
        assert job.state == JobState.COMPLETED
        assert await lines(stage, job_id) == ["begun", "done"]
        await check_books(stage, job)


class TestWebUi:
    async def test_job_is_found_by_its_attributes(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job_id = await stage.submit(**sh("true", labels={"team": "blue"}))
            await stage.ended(job_id)
            query = (
                f"WorkflowType = '{JOB_WORKFLOW}' AND CortexUser = 'tester' AND "
                "CortexProvider = 'local' AND CortexStatus = 'completed' AND "
                "CortexLabels = 'team=blue'"
            )

            async def listed() -> bool:
                return [run.id async for run in stage.client.list_workflows(query)] == [job_id]

            await eventually(listed, what="the run in the list")
            described = await stage.client.get_workflow_handle(job_id).describe()
        assert "sh -c true" in str(await described.static_summary())


class TestLogs:
    @pytest.mark.slow
    async def test_loud_job_is_bounded_and_says_so(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local={**LOCAL, "max_log_bytes": 32 * 2**20})
        script = "head -c 20000000 /dev/zero | tr '\\0' x | fold -w 1000; echo; echo the end"
        async with stage.worker():
            job_id = await stage.submit(**sh(script))
            job = await stage.ended(job_id, within=60)
        assert job.state == JobState.COMPLETED
        assert job.log_bytes <= stage.settings.logs.max_bytes
        assert job.log_dropped_bytes > 5_000_000
        kept = await lines_all(stage, job_id)
        assert kept[-1] == "the end"
        assert any("lines are missing" in line for line in kept)


async def lines_all(stage: Stage, job_id: str) -> list[str]:
    texts: list[str] = []
    cursor: str | None = None
    async with stage.database.transaction() as tx:
        while page := await tx.logs.read(job_id, since=cursor, limit=5000):
            texts.extend(line.text for line in page)
            cursor = page[-1].cursor
    return texts
