"""Near the deadline: one warning, or more time, and an end whatever the network does."""

from collections import Counter, deque
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from cortex.domain.ids import lease_key
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.states import JobState
from cortex.temporal.contracts import CancelSignal, ExtendSignal
from tests.support import eventually
from tests.workflows.conftest import World, exited

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


async def counted(handle: "WorkflowHandle[object, Outcome]") -> Counter[int]:
    history = await handle.fetch_history()
    return Counter(event.event_type for event in history.events)


async def took(world: World, **fields: Any) -> tuple[Outcome, timedelta]:
    """The outcome, and the time from the start to the begin of the settlement."""
    handle = await world.start(**fields)
    outcome = await handle.result()
    return outcome, await ran_for(handle)


async def ran_for(handle: "WorkflowHandle[object, Outcome]") -> timedelta:
    events = (await handle.fetch_history()).events
    last = next(e for e in reversed(events) if e.HasField("timer_fired_event_attributes"))
    return last.event_time.ToDatetime() - events[0].event_time.ToDatetime()


class TestEnforced:
    async def test_a_network_that_would_run_on_for_ever_is_stopped(self, world: World) -> None:
        """The provider never says that it ended, whoever asks: Cortex ends it all the same."""
        world.commits = deque([exited(lease_key(world.job_id, 1), "running")])
        world.duration = timedelta(days=3)
        outcome, time = await took(world, warn_before=10 * MINUTE)
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.DEADLINE)
        assert timedelta(days=3) <= time < timedelta(days=3) + MINUTE
        assert world.calls[-1] == "settle"
        assert not world.live


class TestMovedAtTheLastMoment:
    async def test_goes_on_until_the_later_deadline(self, world: World) -> None:
        """The settlement finds a later deadline than the one that has passed."""
        world.commits = deque([exited(lease_key(world.job_id, 1), "running")])
        world.settles = deque([2 * HOUR, None])
        outcome, time = await took(world)
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.DEADLINE)
        assert 3 * HOUR <= time < 3 * HOUR + MINUTE
        assert world.calls.count("settle") == 2
        (settled,) = world.settled
        assert settled.deadline is not None

    async def test_may_still_end_well(self, world: World) -> None:
        world.commits = deque([None])
        world.settles = deque([2 * HOUR, None])
        world.checks = deque([None, "exit 0"])
        assert (await world.run(safety_check=40 * MINUTE)).state == JobState.COMPLETED

    async def test_may_still_be_cancelled(self, world: World) -> None:
        world.commits = deque([None])
        world.settles = deque([2 * HOUR, None])
        world.duration = timedelta(milliseconds=100)  # nobody awaits the end yet: real time
        handle = await world.start()
        await eventually(lambda: called(world, "settle"), what="it goes on")
        await handle.signal("cancel", CancelSignal(reason="enough"))
        assert (await handle.result()).state == JobState.CANCELLED
        assert not world.live


async def called(world: World, name: str) -> bool:
    return name in world.calls


class TestWarning:
    async def test_costs_one_timer_and_one_activity(self, world: World) -> None:
        world.commits = deque([None])
        plain = await world.start()
        await plain.result()
        before = await counted(plain)
        world.job_id += "x"
        world.calls.clear()
        handle = await world.start(warn_before=10 * MINUTE)
        assert (await handle.result()).reason == Reason.DEADLINE
        assert world.calls == ["place", "acquire", "warn", "settle"]
        after = await counted(handle)
        more = {kind: after[kind] - before[kind] for kind in after}
        assert more[EventType.EVENT_TYPE_TIMER_STARTED] == 1
        assert more[EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED] == 1

    async def test_comes_in_time(self, world: World) -> None:
        world.commits = deque([None])
        world.duration = timedelta(hours=5)
        handle = await world.start(warn_before=10 * MINUTE)
        await handle.result()
        (warned,) = world.warned
        assert warned.lease_key == lease_key(world.job_id, 1)
        assert world.calls.count("check") == 4  # each hour, as without a warning
        history = await handle.fetch_history()
        (scheduled,) = [
            event.event_time.ToDatetime(tzinfo=warned.deadline_at.tzinfo)
            for event in history.events
            if event.activity_task_scheduled_event_attributes.activity_type.name == "warn"
        ]
        left = warned.deadline_at - scheduled
        assert 9 * MINUTE < left <= 10 * MINUTE

    async def test_none_for_a_job_that_ends_before(self, world: World) -> None:
        world.commits = deque([None])
        handle = await world.start(warn_before=10 * MINUTE)
        await world.acquired(handle)
        await handle.signal("lease_changed", exited(lease_key(world.job_id, 1), "exit 0"))
        assert (await handle.result()).state == JobState.COMPLETED
        assert "warn" not in world.calls
        assert (await counted(handle))[EventType.EVENT_TYPE_MARKER_RECORDED] == 1  # of placing

    async def test_an_extension_makes_it_due_again(
        self, world: World, skipping: WorkflowEnvironment
    ) -> None:
        world.commits = deque([None])
        begin = await skipping.get_current_time()
        handle = await world.start(warn_before=10 * MINUTE)
        await world.acquired(handle)
        await skipping.sleep(55 * MINUTE)
        await handle.signal("extend", ExtendSignal(deadline_at=begin + 3 * HOUR))
        assert (await handle.result()).reason == Reason.DEADLINE
        first, second = world.warned
        assert second.deadline_at == begin + 3 * HOUR > first.deadline_at

    async def test_each_lease_has_its_own(self, world: World) -> None:
        world.commits = deque([None])
        handle = await world.start(warn_before=10 * MINUTE, retries_on_lost=1)
        await world.acquired(handle)
        await world.env.sleep(55 * MINUTE)
        await handle.signal("lease_changed", exited(lease_key(world.job_id, 1), "lost"))
        assert (await handle.result()).reason == Reason.DEADLINE
        keys = [warning.lease_key for warning in world.warned]
        assert keys == [lease_key(world.job_id, attempt) for attempt in (1, 2)]
        assert world.settled[0].cause == "lost"

    async def test_one_that_cannot_be_told_holds_nothing_up(self, world: World) -> None:
        world.commits = deque([None])
        away = ApplicationError("PostgreSQL does not answer", type="DatabaseUnavailable")
        world.warns = deque([away])
        outcome, time = await took(world, warn_before=10 * MINUTE)
        assert outcome.reason == Reason.DEADLINE
        assert time < HOUR + MINUTE
        assert world.calls.count("warn") > 10

    async def test_a_cancel_does_not_wait_for_it(
        self, world: World, skipping: WorkflowEnvironment
    ) -> None:
        world.commits = deque([None])
        world.warns = deque([RuntimeError("database away")])
        handle = await world.start(warn_before=10 * MINUTE)
        await world.acquired(handle)
        await skipping.sleep(51 * MINUTE)
        await handle.signal("cancel", CancelSignal())
        assert (await handle.result()).state == JobState.CANCELLED


class TestExtendedByItself:
    async def test_goes_on_until_no_more_is_given(self, world: World) -> None:
        world.commits = deque([None])
        world.warns = deque([HOUR, HOUR, timedelta(0)])
        outcome, time = await took(world, warn_before=10 * MINUTE)
        assert outcome.reason == Reason.DEADLINE
        assert 3 * HOUR <= time < 3 * HOUR + MINUTE
        deadlines = [warning.deadline_at for warning in world.warned]
        assert [b - a for a, b in zip(deadlines, deadlines[1:], strict=False)] == [HOUR, HOUR]

    async def test_the_later_of_two_extensions_holds(
        self, world: World, skipping: WorkflowEnvironment
    ) -> None:
        world.commits = deque([None])
        world.warns = deque([HOUR, timedelta(0)])
        begin = await skipping.get_current_time()
        handle = await world.start(warn_before=10 * MINUTE)
        await world.acquired(handle)
        await handle.signal("extend", ExtendSignal(deadline_at=begin + 5 * HOUR))
        assert (await handle.result()).reason == Reason.DEADLINE
        assert abs(await ran_for(handle) - 6 * HOUR) < MINUTE


class TestBackOff:
    async def test_is_what_the_spec_says(self, world: World) -> None:
        world.commits = deque(["lost"])
        waits = {"backoff": 30 * MINUTE, "max_backoff": 45 * MINUTE}
        outcome, time = await took(world, retries_on_lost=3, **waits)
        assert outcome.reason == Reason.LEASE_LOST
        assert 120 * MINUTE <= time < 125 * MINUTE  # 30 + 45 + 45
        assert [settlement.cause for settlement in world.settled] == ["lost"] * 3 + [""]
