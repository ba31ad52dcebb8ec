"""The life of a job, path by path, on a clock that jumps."""

import asyncio
from collections import deque
from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.contracts import PlaceResult
from cortex.domain.ids import lease_key
from cortex.domain.jobs import Reason
from cortex.domain.leases import PullTrouble
from cortex.domain.states import JobState
from cortex.temporal.contracts import CancelSignal, ExtendSignal
from tests.support import patience
from tests.workflows.conftest import World, exited, open_world, refusal, time_skipping
from workflows.job import JobWorkflow


class TestSuccess:
    async def test_goes_through_all_steps_once(self, world: World) -> None:
        outcome = await world.run()
        assert outcome.state == JobState.COMPLETED
        assert world.calls == ["place", "acquire", "settle"]
        assert not world.live

    async def test_ends_by_signal(self, world: World) -> None:
        world.commits = deque([None])
        handle = await world.start()
        await world.acquired(handle)
        await handle.signal("lease_changed", exited(lease_key(world.job_id, 1), "running"))
        await handle.signal("lease_changed", exited(lease_key(world.job_id, 1), "exit 0", 2))
        assert (await handle.result()).exit_code == 0

    async def test_repeated_late_and_foreign_signals_do_no_harm(self, world: World) -> None:
        world.commits = deque([None])
        handle = await world.start()
        await world.acquired(handle)
        key = lease_key(world.job_id, 1)
        await handle.signal("lease_changed", exited(lease_key(world.job_id, 7), "exit 9"))
        await handle.signal("lease_changed", exited(key, "running", 2))
        await handle.signal("lease_changed", exited(key, "exit 9", 1))  # older than what is known
        await handle.signal("lease_changed", exited(key, "exit 0", 3))
        await handle.signal("lease_changed", exited(key, "exit 0", 3))
        assert (await handle.result()).state == JobState.COMPLETED
        assert world.calls.count("settle") == 1


class TestFailure:
    async def test_exit_code_fails_the_job(self, world: World) -> None:
        world.commits = deque(["exit 3"])
        outcome = await world.run()
        assert (outcome.state, outcome.reason, outcome.exit_code) == (
            JobState.FAILED,
            Reason.EXITED,
            3,
        )
        assert world.calls.count("acquire") == 1

    async def test_retries_on_failure_as_the_spec_says(self, world: World) -> None:
        world.commits = deque(["exit 3", "exit 3", "exit 0"])
        outcome = await world.run(retries_on_failure=2)
        assert outcome.state == JobState.COMPLETED
        assert [settlement.lease_key for settlement in world.settled] == [
            lease_key(world.job_id, attempt) for attempt in (1, 2, 3)
        ]
        assert "retry 1 of 2" in world.settled[0].next

    async def test_lost_lease_starts_elsewhere(self, world: World) -> None:
        world.commits = deque(["lost", "exit 0"])
        outcome = await world.run(retries_on_lost=1)
        assert outcome.state == JobState.COMPLETED
        assert world.excluded == [(), (world.provider,)]
        assert not world.live

    async def test_lost_too_often(self, world: World) -> None:
        world.commits = deque(["lost"])
        outcome = await world.run(retries_on_lost=2)
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.LEASE_LOST)
        assert world.calls.count("settle") == 3

    async def test_invalid_spec_is_not_offered_elsewhere(self, world: World) -> None:
        world.prepares = deque([refusal("InvalidSpec", "no such thing")])
        outcome = await world.run()
        assert outcome.reason == Reason.INVALID_SPEC
        assert "no such thing" in outcome.message
        assert world.calls == ["place", "acquire", "settle"]

    async def test_a_bug_in_a_provider_fails_the_job_and_releases(self, world: World) -> None:
        world.commits = deque([refusal("Bug", "internal error (KeyError)")])
        outcome = await world.run()
        assert outcome.reason == Reason.PROVIDER_ERROR
        assert not world.live


class TestFailover:
    @pytest.mark.parametrize("kind", ["NoCapacity", "InsufficientFunds", "Unavailable"])
    async def test_next_offer_after_a_refusal(self, world: World, kind: str) -> None:
        world.prepares = deque([refusal(kind), None])
        outcome = await world.run()
        assert outcome.state == JobState.COMPLETED
        assert world.calls == ["place", "acquire", "settle", "place", "acquire", "settle"]
        assert world.excluded[1] == (world.provider,)

    async def test_refused_at_commit(self, world: World) -> None:
        world.commits = deque([refusal("LeaseLost"), "exit 0"])
        assert (await world.run()).state == JobState.COMPLETED
        assert not world.live

    async def test_waits_longer_each_time_all_have_refused(self, world: World) -> None:
        nobody = PlaceResult(reason=Reason.NO_CAPACITY, message="none is left to ask")
        world.prepares = deque([refusal("NoCapacity", "registry away")])
        world.places = deque([None, nobody] * 200)
        outcome = await world.run(placement_timeout=timedelta(minutes=10))
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.NO_CAPACITY)
        assert world.calls.count("acquire") <= 10  # 2 s, 4 s, 8 s … and the end

    async def test_switched_off(self, world: World) -> None:
        world.prepares = deque([refusal("NoCapacity", "all taken")])
        outcome = await world.run(failover=False)
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.NO_CAPACITY)
        assert "all taken" in outcome.message

    async def test_an_image_that_no_registry_has_is_tried_once(self, world: World) -> None:
        world.prepares = deque([refusal("NoSuchImage", "image `x`: manifest unknown")])
        outcome = await world.run()
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.IMAGE_UNAVAILABLE)
        assert "image `x`: manifest unknown" in outcome.message
        assert world.calls == ["place", "acquire", "settle"]

    @pytest.mark.parametrize(
        ("image", "calls", "failure"),
        [("missing", 1, ""), ("unpullable", 2, "lost")],
    )
    async def test_a_lease_whose_image_cannot_be_pulled(
        self, world: World, image: PullTrouble, calls: int, failure: str
    ) -> None:
        lost = exited(lease_key(world.job_id, 1), "lost")
        lost = lost.model_copy(update={"image": image, "message": "image `x` cannot be pulled"})
        world.commits = deque([lost])
        none_left = PlaceResult(reason=Reason.NO_CAPACITY, message="none is left to ask")
        world.places = deque([None, none_left])
        outcome = await world.run()
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.IMAGE_UNAVAILABLE)
        assert "image `x` cannot be pulled" in outcome.message
        assert world.calls.count("place") == calls
        assert world.calls.count("acquire") == 1
        assert world.settled[0].failure == failure
        assert world.settled[0].cause in ("", "refused")
        if calls == 2:
            assert world.excluded[1] == (world.provider,)

    async def test_a_loss_that_is_not_to_be_made_good(self, world: World) -> None:
        lost = exited(lease_key(world.job_id, 1), "lost")
        lost = lost.model_copy(update={"image": "unpullable", "message": "image `x`: timeout"})
        world.commits = deque([lost])
        outcome = await world.run(retries_on_lost=0)
        assert outcome.reason is Reason.IMAGE_UNAVAILABLE
        assert "`retries.on_lost` is 0" in outcome.message
        assert world.calls.count("place") == 1

    async def test_unsuitable_provider_is_not_asked_again(self, world: World) -> None:
        world.prepares = deque([refusal("Unsuitable", "no image `x`")])
        none_left = PlaceResult(reason=Reason.NO_CAPACITY, message="none is left to ask")
        world.places = deque([None, none_left])
        outcome = await world.run()
        assert outcome.state == JobState.FAILED
        assert "no image `x`" in outcome.message
        assert world.calls == ["place", "acquire", "settle", "place", "finish"]


class TestPlacement:
    async def test_an_outage_of_the_database_is_waited_out(self, world: World) -> None:
        away = ApplicationError("PostgreSQL does not answer", type="DatabaseUnavailable")
        world.places = deque([away, away, away, None])
        assert (await world.run()).state == JobState.COMPLETED
        assert world.calls == ["place"] * 4 + ["acquire", "settle"]

    async def test_a_bug_of_ours_ends_the_job_all_the_same(self, world: World) -> None:
        world.places = deque([refusal("Bug", "internal error")])
        outcome = await world.run()
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.INTERNAL_ERROR)
        assert world.calls[-1] == "finish"
        assert [outcome.reason for outcome in world.finished] == [Reason.INTERNAL_ERROR]

    _NOTHING = PlaceResult(reason=Reason.NO_CAPACITY, message="all taken", try_again=True)

    async def test_waits_for_capacity(self, world: World) -> None:
        world.places = deque([self._NOTHING, self._NOTHING, None])
        assert (await world.run()).state == JobState.COMPLETED

    async def test_gives_up_after_the_timeout(self, world: World) -> None:
        world.places = deque([self._NOTHING])
        outcome = await world.run(placement_timeout=timedelta(minutes=5))
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.NO_CAPACITY)
        assert world.finished == [outcome]

    @pytest.mark.slow
    async def test_searching_for_a_week_continues_as_new(self, world: World) -> None:
        world.places = deque([self._NOTHING])
        handle = await world.start(placement_timeout=timedelta(days=7))
        outcome = await asyncio.wait_for(handle.result(), patience(100))
        assert outcome.reason == Reason.NO_CAPACITY
        assert world.calls.count("place") > 900

    async def test_over_budget_fails_at_once(self, world: World) -> None:
        world.places = deque([PlaceResult(reason=Reason.OVER_BUDGET, message="too dear")])
        assert (await world.run()).reason == Reason.OVER_BUDGET
        assert world.calls == ["place", "finish"]


class TestCancel:
    async def test_while_running(self, world: World) -> None:
        world.commits = deque([None])
        handle = await world.start()
        await world.acquired(handle)
        await handle.signal("cancel", CancelSignal(reason="enough"))
        await handle.signal("cancel", CancelSignal(reason="again"))
        outcome = await handle.result()
        assert (outcome.state, outcome.message) == (JobState.CANCELLED, "enough")
        assert world.calls == ["place", "acquire", "settle"]
        assert not world.live

    async def test_while_preparing_interrupts_and_releases(self, world: World) -> None:
        world.prepares = deque([30.0])
        handle = await world.start(heartbeat_timeout=timedelta(seconds=2))
        await world.preparing.wait()
        await handle.signal("cancel", CancelSignal())
        outcome = await asyncio.wait_for(handle.result(), patience(20))
        assert outcome.state == JobState.CANCELLED
        assert not world.watching.is_set()
        assert not world.live

    async def test_between_reservation_and_commit(self, world: World) -> None:
        """The database knew of it before the workflow: nothing is started, and it waits."""
        world.held = deque([True])
        handle = await world.start()
        await world.acquired(handle)
        await handle.signal("cancel", CancelSignal(reason="enough", cause=Reason.OVER_BUDGET))
        outcome = await handle.result()
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.OVER_BUDGET)
        assert not world.watching.is_set()
        assert world.calls == ["place", "acquire", "settle"]
        assert not world.live

    async def test_while_waiting_for_capacity(self, world: World) -> None:
        world.places = deque([TestPlacement._NOTHING])
        handle = await world.start(placement_timeout=timedelta(days=1))
        await handle.signal("cancel", CancelSignal())
        outcome = await handle.result()
        assert outcome.state == JobState.CANCELLED
        assert world.finished == [outcome]

    async def test_before_anything_began(self, world: World) -> None:
        stopped = PlaceResult(reason=Reason.CANCELLED, message="the job is cancelling")
        world.places = deque([stopped])
        assert (await world.run()).state == JobState.CANCELLED

    async def test_in_the_web_ui(self, world: World) -> None:
        world.commits = deque([None])
        handle = await world.start()
        await world.acquired(handle)
        await handle.cancel()
        outcome = await handle.result()
        assert outcome.state == JobState.CANCELLED
        assert not world.live

    async def test_in_the_web_ui_while_preparing(self, world: World) -> None:
        world.prepares = deque([30.0])
        handle = await world.start(heartbeat_timeout=timedelta(seconds=2))
        await world.preparing.wait()
        await handle.cancel()
        assert (await asyncio.wait_for(handle.result(), patience(20))).state == JobState.CANCELLED
        assert not world.live

    async def test_a_command_that_ended_well_before_has_completed(self, world: World) -> None:
        world.commits = deque([None])
        handle = await world.start()
        await world.acquired(handle)
        await handle.signal("lease_changed", exited(lease_key(world.job_id, 1), "exit 0"))
        await handle.signal("cancel", CancelSignal())
        assert (await handle.result()).state == JobState.COMPLETED

    async def test_no_retry_after_a_cancel(self, world: World) -> None:
        world.commits = deque(["exit 1"])
        handle = await world.start(retries_on_failure=5)
        await world.acquired(handle)
        await handle.signal("cancel", CancelSignal())
        assert (await handle.result()).state == JobState.CANCELLED


class TestDeadline:
    async def test_ends_the_job(self, world: World) -> None:
        world.commits = deque([None])
        outcome = await world.run()
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.DEADLINE)
        assert not world.live

    async def test_extension_moves_it(self, world: World, skipping: WorkflowEnvironment) -> None:
        world.commits = deque([None])
        begin = await skipping.get_current_time()
        handle = await world.start()
        await world.acquired(handle)
        await handle.signal("extend", ExtendSignal(deadline_at=begin + timedelta(hours=5)))
        outcome = await handle.result()
        assert outcome.reason == Reason.DEADLINE
        assert await skipping.get_current_time() >= begin + timedelta(hours=5)

    async def test_safety_check_finds_a_missed_end(self, world: World) -> None:
        world.commits = deque([None])
        world.checks = deque([None, "exit 0"])
        world.duration = timedelta(hours=9)
        assert (await world.run()).state == JobState.COMPLETED
        assert world.calls.count("check") == 2

    async def test_provider_that_never_answers_the_check_holds_nothing_up(
        self, world: World
    ) -> None:
        world.commits = deque([None])
        world.checks = deque([RuntimeError("network down")])
        world.duration = timedelta(hours=3)
        outcome = await world.run(safety_check=timedelta(hours=1))
        assert outcome.reason == Reason.DEADLINE
        assert not world.live


class TestCompensation:
    async def test_release_is_never_given_up(self, world: World) -> None:
        flaky = [RuntimeError("network down") for _ in range(12)]
        world.settles = deque([*flaky, None])
        assert (await world.run()).state == JobState.COMPLETED
        assert world.calls.count("settle") == 13
        assert not world.live


class TestQueries:
    async def test_tell_where_the_job_is(self, world: World) -> None:
        world.commits = deque([None])
        handle = await world.start()
        await world.acquired(handle)
        await handle.signal("lease_changed", exited(lease_key(world.job_id, 1), "running"))
        assert await handle.query(JobWorkflow.state) == "running"
        progress = await handle.query(JobWorkflow.progress)
        assert progress.provider_id == world.provider
        assert progress.lease_key == lease_key(world.job_id, 1)
        await handle.signal("cancel", CancelSignal())
        await handle.result()


class TestTermination:
    async def test_ends_without_outcome(self) -> None:
        """What only reconcile can mend: the lease stays as it is in the database.

        On a server of its own: the clock of one that has terminated a workflow jumps no more.
        """
        async with time_skipping() as env, open_world(env, World) as world:
            world.commits = deque([None])
            handle = await world.start()
            await world.acquired(handle)
            await handle.terminate()
            with pytest.raises(WorkflowFailureError):
                await handle.result()
