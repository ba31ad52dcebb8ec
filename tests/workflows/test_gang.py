"""A member's part in its gang: it waits, it hears, and it ends whatever becomes of the others."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.contracts import AdvanceResult, VerdictResult
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState
from cortex.temporal.contracts import CancelSignal
from tests.support import patience
from tests.workflows.conftest import open_world, refusal
from tests.workflows.group_world import ABORT, COMMIT, WAIT, GroupWorld, lasted


@pytest.fixture
async def world(skipping: WorkflowEnvironment) -> AsyncIterator[GroupWorld]:
    async with open_world(skipping, GroupWorld) as made:
        yield made


class TestDecision:
    async def test_commits_after_the_decision_only(self, world: GroupWorld) -> None:
        world.verdicts = deque([WAIT, WAIT, COMMIT])
        assert (await world.run_member()).state == JobState.COMPLETED
        assert world.calls == ["place", "prepare", *["verdict"] * 3, "commit", "settle"]

    async def test_aborted_releases_and_ends_as_cancelled(self, world: GroupWorld) -> None:
        world.verdicts = deque([WAIT, ABORT])
        outcome = await world.run_member()
        assert (outcome.state, outcome.reason) == (JobState.CANCELLED, Reason.GROUP_ABORTED)
        assert outcome.message == "`b` was late"
        assert "commit" not in world.calls
        assert not world.live

    async def test_a_call_is_heard_at_once(self, world: GroupWorld) -> None:
        world.verdicts = deque([VerdictResult(answer="wait", wait=timedelta(hours=5)), COMMIT])
        handle = await world.start_member()
        await world.at_wait()
        await handle.signal("look")
        assert (await handle.result()).state == JobState.COMPLETED
        assert await lasted(handle) < timedelta(hours=4)

    async def test_the_group_is_called_when_reserved_and_at_the_end(
        self, world: GroupWorld
    ) -> None:
        idle = AdvanceResult(state="running", wait=timedelta(hours=5))
        world.advances = deque([idle, idle, AdvanceResult(state="completed", done=True)])
        group = await world.start_group()
        await world.advanced.wait()
        await world.run_member()
        assert (await asyncio.wait_for(group.result(), patience(20))).state == "completed"
        assert await lasted(group) < timedelta(hours=4)
        assert not world.woken

    async def test_an_outage_while_asking_is_waited_out(self, world: GroupWorld) -> None:
        away = ApplicationError("PostgreSQL does not answer", type="DatabaseUnavailable")
        world.verdicts = deque([away, away, COMMIT])
        assert (await world.run_member()).state == JobState.COMPLETED

    async def test_is_asked_once_for_all_leases_of_a_job(self, world: GroupWorld) -> None:
        world.commits = deque(["lost", "exit 0"])
        assert (await world.run_member(commit_failure="end")).state == JobState.COMPLETED
        assert world.calls.count("verdict") == 1
        assert world.calls.count("commit") == 2

    async def test_best_effort_member_asks_nobody_and_calls_at_its_end(
        self, world: GroupWorld
    ) -> None:
        assert (await world.run_member(gang=False)).state == JobState.COMPLETED
        assert "verdict" not in world.calls
        assert world.woken == [world.group_id]


class TestNoGroup:
    async def test_a_group_whose_workflow_is_gone_is_started_again_at_the_end(
        self, world: GroupWorld
    ) -> None:
        world.verdicts = deque([WAIT, ABORT])
        await world.run_member()
        assert world.woken == [world.group_id]

    async def test_lost_calls_cost_time_only(self, world: GroupWorld) -> None:
        world.verdicts = deque([WAIT] * 5 + [COMMIT])
        assert (await world.run_member()).state == JobState.COMPLETED

    async def test_a_group_that_cannot_be_called_keeps_no_job_from_its_end(
        self, world: GroupWorld
    ) -> None:
        group = await world.start_group()
        await group.result()
        assert (await world.run_member()).state == JobState.COMPLETED


class TestStop:
    async def test_cancelled_while_it_waits(self, world: GroupWorld) -> None:
        world.verdicts = deque([WAIT])
        handle = await world.start_member()
        await world.at_wait()
        await handle.signal("cancel", CancelSignal(reason="enough"))
        outcome = await asyncio.wait_for(handle.result(), patience(20))
        assert (outcome.state, outcome.message) == (JobState.CANCELLED, "enough")
        assert "commit" not in world.calls
        assert not world.live

    async def test_cancelled_in_the_web_ui_while_it_waits(self, world: GroupWorld) -> None:
        world.verdicts = deque([WAIT])
        handle = await world.start_member()
        await world.at_wait()
        await handle.cancel()
        assert (await asyncio.wait_for(handle.result(), patience(20))).state == JobState.CANCELLED
        assert not world.live

    async def test_ended_by_its_group(self, world: GroupWorld) -> None:
        world.commits = deque([None])
        handle = await world.start_member()
        await world.at_watch()
        stop = CancelSignal(reason="`b` failed", cause=Reason.GROUP_ABORTED)
        await handle.signal("cancel", stop)
        outcome = await handle.result()
        assert (outcome.state, outcome.reason) == (JobState.CANCELLED, Reason.GROUP_ABORTED)

    async def test_stopped_for_its_budget_is_a_failure(self, world: GroupWorld) -> None:
        world.commits = deque([None])
        handle = await world.start_member()
        await world.at_watch()
        await handle.signal("cancel", CancelSignal(reason="used up", cause=Reason.OVER_BUDGET))
        outcome = await handle.result()
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.OVER_BUDGET)


class TestCommitFailure:
    async def test_of_all_or_none_takes_no_other_offer(self, world: GroupWorld) -> None:
        world.commits = deque([refusal("LeaseLost", "the bid has expired")])
        outcome = await world.run_member(commit_failure="end")
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.LEASE_LOST)
        assert "takes all or none" in outcome.message
        assert world.calls.count("commit") == 1
        assert not world.live

    async def test_retried_elsewhere_if_the_group_says_so(self, world: GroupWorld) -> None:
        world.commits = deque([refusal("LeaseLost"), refusal("NoCapacity"), "exit 0"])
        assert (await world.run_member(commit_failure="retry")).state == JobState.COMPLETED
        assert world.calls.count("commit") == 3
        assert world.calls.count("verdict") == 1

    async def test_once_it_has_run_it_may_be_placed_anew(self, world: GroupWorld) -> None:
        world.commits = deque(["lost", refusal("NoCapacity"), "exit 0"])
        assert (await world.run_member(commit_failure="end")).state == JobState.COMPLETED

    async def test_while_preparing_it_goes_from_offer_to_offer(self, world: GroupWorld) -> None:
        world.prepares = deque([refusal("NoCapacity"), refusal("Unavailable"), None])
        assert (await world.run_member(commit_failure="end")).state == JobState.COMPLETED
