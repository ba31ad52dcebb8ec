"""Reconcile of the books: jobs, groups and holds that nobody looks after any more."""

from decimal import Decimal

import pytest
from sqlalchemy import insert, select, text

from cortex.db.tables.groups import JobGroupRow
from cortex.db.tables.outbox import CommandRow
from cortex.domain.ids import new_id
from cortex.domain.jobs import Reason
from cortex.domain.money.ledger import EntryKind
from cortex.domain.reconcile import FindingKind
from cortex.domain.states import JobState, LeaseState
from cortex.temporal.contracts import rescue_id
from providers.null import NullProvider
from tests.integration import reconciling
from tests.integration.conftest import Stage, StageMaker
from tests.integration.reconciling import (
    delivered,
    findings,
    of_books,
    running,
    terminate,
    told,
    tuned,
)
from tests.support import eventually
from tests.support.rows import open_holds, set_lease
from worker import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
async def stage(make_stage: StageMaker) -> Stage:
    return tuned(await make_stage(null={"type": "null", "run_seconds": -1}))


def network(worker: Service) -> NullProvider:
    """The network itself, behind the worker's provider."""
    inner = worker.fleet.get("null").inner  # type: ignore[attr-defined]
    assert isinstance(inner, NullProvider)
    return inner


class TestGoneWorkflow:
    async def test_a_terminated_job_is_released_booked_and_says_so(self, stage: Stage) -> None:
        async with stage.worker() as worker:
            job_id = await running(stage)
            await terminate(stage, job_id, "wrong data set")
            (seen,) = await of_books(stage)
            assert (seen.finding.kind, seen.finding.subject) == (
                FindingKind.GONE_WORKFLOW,
                job_id,
            )
            assert "is running and holds a lease" in seen.finding.message
            assert "was terminated in Temporal (reason: wrong data set" in seen.finding.message
            job = await stage.ended(job_id)
            assert not await network(worker).owned()
            assert not await of_books(stage)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.WORKFLOW_GONE)
        assert "its workflow was terminated in Temporal (reason: wrong data set" in job.message
        assert job.message.endswith("Cortex released its lease and booked its bill")
        async with stage.database.transaction() as tx:
            (lease,) = await tx.leases.of_job(job_id)
            entries = await tx.ledger.page(job_id=job_id)
            assert not await open_holds(tx)
        assert lease.state is LeaseState.RELEASED
        by_kind = {entry.kind: entry.amount for entry in entries}
        assert set(by_kind) == {EntryKind.HOLD, EntryKind.CHARGE, EntryKind.RELEASE}
        assert len(entries) == len(by_kind)
        assert by_kind[EntryKind.CHARGE] == lease.cost
        (finding,) = await findings(stage, FindingKind.GONE_WORKFLOW)
        assert finding.closed_at is not None
        assert await told(stage) == [
            ("reconcile.found", "gone_workflow"),
            ("reconcile.closed", "gone_workflow"),
        ]

    async def test_a_job_in_cancelling_ends_cancelled(self, stage: Stage) -> None:
        async with stage.worker():
            job_id = await running(stage)
            await terminate(stage, job_id, "by hand")
            async with stage.database.transaction() as tx:
                await tx.jobs.lock(job_id)
                await tx.jobs.move(job_id, JobState.CANCELLING, message="cancel requested")
                command = await tx.commands.add(job_id, "cancel", {"reason": "enough"})
                # A cancel on the way is looked after; here it is on its way for ever.
                await tx.connection.execute(
                    text("UPDATE commands SET due_at = now() + interval '1 day' WHERE id = :id"),
                    {"id": command},
                )
            assert not await of_books(stage)
            async with stage.database.transaction() as tx:
                await tx.commands.done([command])
            assert await of_books(stage)
            job = await stage.ended(job_id)
        assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)
        assert job.message.startswith("cancelled on request; its workflow was terminated")

    async def test_a_job_between_two_leases_ends_without_a_bill(self, stage: Stage) -> None:
        async with stage.worker():
            job_id = await stage.submit(
                placement={"providers": ["null"], "timeout": "1h", "max_price": "0.0000001 USD"}
            )

            async def placing() -> bool:
                return (await stage.job(job_id)).state is JobState.PLACING

            await eventually(placing, what="a job that waits for an offer")
            await delivered(stage, job_id)
            await terminate(stage, job_id, "no")
            await of_books(stage)
            job = await stage.ended(job_id)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.WORKFLOW_GONE)
        assert job.message.endswith("it held no lease, no bill")

    async def test_a_command_that_has_succeeded_stays_so(self, stage: Stage) -> None:
        async with stage.worker():
            job_id = await running(stage)
            await terminate(stage, job_id, "too early")
            async with stage.database.transaction() as tx:
                (lease,) = await tx.leases.of_job(job_id)
                assert await tx.leases.move(lease.key, LeaseState.ENDED)
                await set_lease(tx, lease.key, run_state="exited", exit_code=0)
            await of_books(stage)
            job = await stage.ended(job_id)
        assert (job.state, job.exit_code) == (JobState.COMPLETED, 0)
        assert "too early" in job.message

    async def test_what_runs_or_was_reset_or_cancelled_is_no_finding(self, stage: Stage) -> None:
        async with stage.worker():
            job_id = await running(stage)
            other = await running(stage)
            assert not await of_books(stage)
            await stage.client.get_workflow_handle(other).cancel()
            assert (await stage.ended(other)).state is JobState.CANCELLED
            assert not await of_books(stage)
            rescue = await stage.client.execute_workflow(
                "Rescue", {"job_id": job_id}, id=rescue_id(job_id), task_queue="cortex"
            )
            assert "its workflow is running" in rescue["message"]
            assert (await stage.job(job_id)).state is JobState.RUNNING
            await stage.client.get_workflow_handle(job_id).cancel()
            await stage.ended(job_id)

    async def test_dry_run_changes_nothing(self, stage: Stage) -> None:
        async with stage.worker() as worker:
            job_id = await running(stage)
            await terminate(stage, job_id, "by hand")
            (seen,) = await of_books(stage, "list")
            assert seen.finding.subject == job_id
            assert "Cortex settles it in the next run" in seen.next
            assert await network(worker).owned()
            assert (await stage.job(job_id)).state is JobState.RUNNING
            assert not await findings(stage, FindingKind.GONE_WORKFLOW)
            assert not await told(stage)
            await of_books(stage)
            await stage.ended(job_id)

    async def test_nothing_is_done_within_the_grace(self, stage: Stage) -> None:
        tuned(stage, grace="1h")
        async with stage.worker():
            job_id = await running(stage)
            await terminate(stage, job_id, "by hand")
            for _ in range(2):
                (seen,) = await of_books(stage)
                assert "in the first run after" in seen.next
            assert (await stage.job(job_id)).state is JobState.RUNNING
            assert await told(stage) == [("reconcile.found", "gone_workflow")]
            async with stage.database.transaction() as tx:
                await tx.connection.execute(
                    text("UPDATE reconcile_findings SET first_seen_at = now() - interval '2 hours'")
                )
            await of_books(stage)
            await stage.ended(job_id)

    async def test_it_is_found_by_the_schedule(self, stage: Stage) -> None:
        tuned(stage, every="1s")
        async with stage.worker() as worker:
            job_id = await running(stage)
            await terminate(stage, job_id, "in the Web UI")
            job = await stage.ended(job_id)
            assert not await network(worker).owned()
        assert (job.state, job.reason) == (JobState.FAILED, Reason.WORKFLOW_GONE)
        assert "(reason: in the Web UI" in job.message

    async def test_an_open_lease_of_a_job_that_has_ended_is_released(self, stage: Stage) -> None:
        async with stage.worker():
            job_id = await running(stage)
            await stage.client.get_workflow_handle(job_id).cancel()
            before = await stage.ended(job_id)
            async with stage.database.transaction() as tx:
                await set_lease(tx, f"{job_id}-1", state="releasing", released_at=None)
            (seen,) = await of_books(stage)
            assert "is cancelled and holds a lease" in seen.finding.message

            async def released() -> bool:
                async with stage.database.transaction() as tx:
                    return not await tx.leases.open_counts()

            await eventually(released, what="the release")
            assert not await of_books(stage)
            assert await stage.job(job_id) == before


class TestGoneGroup:
    async def test_its_workflow_is_ordered_once_more(self, stage: Stage) -> None:
        group_id = new_id("grp")
        async with stage.database.transaction() as tx:
            group = {"id": group_id, "name": "g", "owner": "me", "state": "running", "spec": {}}
            await tx.connection.execute(insert(JobGroupRow).values(group))
        async with stage.worker():
            (seen,) = await of_books(stage)
        assert (seen.finding.kind, seen.finding.subject) == (FindingKind.GONE_GROUP, group_id)
        assert "its workflow is not in Temporal" in seen.finding.message
        assert seen.done == "its workflow was ordered once more"
        async with stage.database.transaction() as tx:
            query = select(CommandRow.kind).where(CommandRow.group_id == group_id)
            assert list((await tx.connection.execute(query)).scalars()) == ["start_group"]


class TestLostStart:
    async def test_it_is_started_again(self, stage: Stage) -> None:
        job_id = await stage.submit()
        async with stage.database.transaction() as tx:
            await tx.connection.execute(text("UPDATE commands SET done_at = now()"))
        async with stage.worker():
            (seen,) = await of_books(stage)
            assert seen.finding.kind is FindingKind.LOST_START
            assert seen.done == "its start was ordered once more"

            async def runs() -> bool:
                return (await stage.job(job_id)).state is JobState.RUNNING

            await eventually(runs, what="its start")
            assert not await of_books(stage)
            await stage.client.get_workflow_handle(job_id).cancel()
            await stage.ended(job_id)


class TestStaleHold:
    async def test_it_is_closed_once(self, stage: Stage) -> None:
        async with stage.worker():
            job_id = await running(stage)
            await stage.client.get_workflow_handle(job_id).cancel()
            await stage.ended(job_id)
            async with stage.database.transaction() as tx:
                # As no step can leave it: the ledger itself refuses a DELETE.
                await tx.connection.execute(text("ALTER TABLE ledger DISABLE TRIGGER USER"))
                await tx.connection.execute(text("DELETE FROM ledger WHERE kind = 'release'"))
                await tx.connection.execute(text("ALTER TABLE ledger ENABLE TRIGGER USER"))
                assert len(await open_holds(tx)) == 1
            (seen,) = await of_books(stage)
            assert (seen.finding.kind, seen.finding.subject) == (
                FindingKind.STALE_HOLD,
                f"{job_id}-1",
            )
            assert seen.done.endswith("are free again")
            assert not await of_books(stage)
        async with stage.database.transaction() as tx:
            assert not await open_holds(tx)
            entries = {entry.kind: entry for entry in await tx.ledger.page(job_id=job_id)}
        spent = entries[EntryKind.CHARGE].amount.amount + entries[EntryKind.RELEASE].amount.amount
        assert abs(spent - entries[EntryKind.HOLD].amount.amount) < Decimal("0.000001")
        assert "reconcile" in entries[EntryKind.RELEASE].note


class TestUnserved:
    async def test_a_provider_that_left_the_settings_is_told(self, stage: Stage) -> None:
        async with stage.worker():
            job_id = await running(stage)
        settings = stage.settings
        stage.settings = settings.model_copy(update={"providers": {}})
        async with stage.worker():
            (seen,) = await of_books(stage)
            assert (seen.finding.kind, seen.finding.subject) == (FindingKind.UNSERVED, "null")
            assert f"`{job_id}-1`" in seen.finding.message
            assert seen.next == "Cortex only tells it"
        stage.settings = settings
        async with stage.worker():
            assert not await of_books(stage)
            await stage.client.get_workflow_handle(job_id).cancel()
            await stage.ended(job_id)


async def test_a_database_or_temporal_that_is_away_is_no_finding(stage: Stage) -> None:
    async with stage.worker():
        job_id = await running(stage)
        (scope,) = await reconciling.run(stage, "nobody")
        assert scope.error == "no worker serves the queue `provider.nobody`"
        await stage.client.get_workflow_handle(job_id).cancel()
        await stage.ended(job_id)
