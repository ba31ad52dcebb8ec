"""Records a history of each path of a job or group: `python -m tests.workflows.record_histories`.

Run it when a new path is added, never to make a failing replay pass: a history that no longer
replays is a running job that would break. Put the change behind `workflow.patched` instead.
"""

import asyncio
import json
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from temporalio.client import WorkflowHandle

from activities.contracts import AdvanceResult, PlaceResult
from cortex.domain.ids import lease_key
from cortex.domain.jobs import Outcome, Reason
from cortex.temporal.contracts import CancelSignal, ExtendSignal, GroupResult
from tests.support import eventually
from tests.workflows.conftest import World, exited, open_world, refusal, time_skipping
from tests.workflows.group_world import ABORT, COMMIT, WAIT, GroupWorld

FOLDER = Path(__file__).parent / "histories"
Handle = WorkflowHandle[object, Outcome]
_NOTHING = PlaceResult(reason=Reason.NO_CAPACITY, message="all taken", try_again=True)


async def completed(world: World) -> Handle:
    return await world.start()


async def completed_by_signal(world: World) -> Handle:
    world.commits = deque([None])
    handle = await world.start()
    await world.acquired(handle)
    key = lease_key(world.job_id, 1)
    await handle.signal("lease_changed", exited(key, "running"))
    await handle.signal("lease_changed", exited(key, "exit 0", 2))
    return handle


async def failed(world: World) -> Handle:
    world.commits = deque(["exit 3"])
    return await world.start()


async def retried(world: World) -> Handle:
    world.commits = deque(["exit 3", "lost", "exit 0"])
    return await world.start(retries_on_failure=1)


async def failed_over(world: World) -> Handle:
    world.prepares = deque([refusal("NoCapacity"), refusal("Unsuitable"), None])
    return await world.start()


async def image_missing(world: World) -> Handle:
    world.prepares = deque([refusal("ImageUnavailable"), refusal("NoSuchImage")])
    return await world.start()


async def image_not_pulled(world: World) -> Handle:
    lost = exited(lease_key(world.job_id, 1), "lost")
    world.commits = deque([lost.model_copy(update={"image": "unpullable"}), "exit 0"])
    return await world.start()


async def no_capacity(world: World) -> Handle:
    world.places = deque([_NOTHING])
    return await world.start(placement_timeout=timedelta(minutes=2))


async def placed_slowly(world: World) -> Handle:
    """The offers take longer than a local activity may."""
    world.places = deque([TimeoutError(), None])
    return await world.start()


async def cancelled_running(world: World) -> Handle:
    world.commits = deque([None])
    handle = await world.start()
    await world.acquired(handle)
    await handle.signal("cancel", CancelSignal(reason="enough"))
    return handle


async def stopped_over_budget(world: World) -> Handle:
    world.commits = deque([None])
    handle = await world.start()
    await world.acquired(handle)
    why = CancelSignal(reason="budget `team` is used up", cause=Reason.OVER_BUDGET)
    await handle.signal("cancel", why)
    return handle


async def cancelled_preparing(world: World) -> Handle:
    world.prepares = deque([30.0])
    handle = await world.start(heartbeat_timeout=timedelta(seconds=2))
    await world.preparing.wait()
    await handle.signal("cancel", CancelSignal())
    return handle


async def cancelled_in_web_ui(world: World) -> Handle:
    world.commits = deque([None])
    handle = await world.start()
    await world.acquired(handle)
    await handle.cancel()
    return handle


async def deadline_extended(world: World) -> Handle:
    world.commits = deque([None])
    handle = await world.start()
    await world.acquired(handle)
    now = await world.env.get_current_time()
    await handle.signal("extend", ExtendSignal(deadline_at=now + timedelta(hours=3)))
    return handle


async def deadline_moved(world: World) -> Handle:
    """Extended when the workflow has seen the old deadline pass: the settlement finds it."""
    world.commits = deque([None])
    world.settles = deque([timedelta(hours=2), None])
    return await world.start()


async def deadline_warned(world: World) -> Handle:
    world.commits = deque([None])
    return await world.start(warn_before=timedelta(minutes=10))


async def deadline_extended_by_itself(world: World) -> Handle:
    world.commits = deque([None])
    world.warns = deque([timedelta(hours=1), timedelta(0)])
    return await world.start(warn_before=timedelta(minutes=10))


async def compensation_retried(world: World) -> Handle:
    world.settles = deque([RuntimeError("network down"), RuntimeError("network down"), None])
    return await world.start()


async def acquired(world: World) -> Handle:
    """Reserved and committed in one step, ends by signals."""
    return await completed_by_signal(world)


async def acquired_failed_over(world: World) -> Handle:
    return await failed_over(world)


async def acquired_lost_and_failed(world: World) -> Handle:
    return await retried(world)


async def acquired_cancelled(world: World) -> Handle:
    """While it reserves."""
    return await cancelled_preparing(world)


async def acquired_nothing(world: World) -> Handle:
    """Cancelled between reservation and commit; the signal comes later."""
    world.held = deque([True])
    handle = await world.start()
    await world.acquired(handle)
    await handle.signal("cancel", CancelSignal(reason="enough"))
    return handle


async def gang_committed(world: GroupWorld) -> Handle:
    world.verdicts = deque([WAIT, WAIT, COMMIT])
    return await world.start_member()


async def gang_aborted(world: GroupWorld) -> Handle:
    world.verdicts = deque([WAIT, ABORT])
    return await world.start_member()


async def gang_cancelled_waiting(world: GroupWorld) -> Handle:
    world.verdicts = deque([WAIT])
    handle = await world.start_member()
    await world.at_wait()
    await handle.signal("cancel", CancelSignal(reason="enough", cause=Reason.GROUP_ABORTED))
    return handle


async def gang_commit_failed(world: GroupWorld) -> Handle:
    world.commits = deque([refusal("LeaseLost")])
    return await world.start_member(commit_failure="end")


async def gang_commit_retried(world: GroupWorld) -> Handle:
    world.commits = deque([refusal("LeaseLost"), "lost", "exit 0"])
    return await world.start_member()


async def best_effort_member(world: GroupWorld) -> Handle:
    return await world.start_member(gang=False)


async def group(world: GroupWorld) -> WorkflowHandle[object, GroupResult]:
    """Called, woken by its timer, gathering calls, cancelled."""
    wait = timedelta(hours=1)
    world.advances = deque(
        [
            AdvanceResult(state="preparing", wait=wait),
            AdvanceResult(state="running", wait=wait, pause=timedelta(seconds=1)),
            AdvanceResult(state="ending", wait=wait),
            AdvanceResult(state="cancelled", done=True),
        ]
    )
    handle = await world.start_group()
    await world.advanced.wait()
    await handle.signal("look")
    await eventually(lambda: _asked(world, 2))
    await handle.cancel()
    return handle


async def _asked(world: GroupWorld, times: int) -> bool:
    return len(world.asked) >= times


GroupHandle = Handle | WorkflowHandle[object, GroupResult]
GROUP_SCENARIOS: tuple[Callable[[GroupWorld], Awaitable[GroupHandle]], ...] = (
    gang_committed,
    gang_aborted,
    gang_cancelled_waiting,
    gang_commit_failed,
    gang_commit_retried,
    best_effort_member,
    group,
)

JOB_SCENARIOS: tuple[Callable[[World], Awaitable[Handle]], ...] = (
    completed,
    completed_by_signal,
    failed,
    retried,
    failed_over,
    image_missing,
    image_not_pulled,
    no_capacity,
    placed_slowly,
    cancelled_running,
    cancelled_preparing,
    cancelled_in_web_ui,
    deadline_extended,
    deadline_moved,
    compensation_retried,
    deadline_warned,
    deadline_extended_by_itself,
    stopped_over_budget,
)
ONE_STEP_SCENARIOS: tuple[Callable[[World], Awaitable[Handle]], ...] = (
    acquired,
    acquired_failed_over,
    acquired_lost_and_failed,
    acquired_cancelled,
    acquired_nothing,
)
"""Of jobs without a gang, since these reserve and commit in one step."""
SCENARIOS = (*JOB_SCENARIOS, *GROUP_SCENARIOS, *ONE_STEP_SCENARIOS)


async def main() -> None:
    """Write one file per scenario; those that are named, or those that have none yet."""
    FOLDER.mkdir(exist_ok=True)
    named = sys.argv[1:]
    async with time_skipping() as env:
        for scenario in SCENARIOS:
            target = FOLDER / f"{scenario.__name__}.json"
            if scenario.__name__ not in named if named else target.exists():
                continue
            async with open_world(env, GroupWorld) as world:
                world.one_step = scenario in ONE_STEP_SCENARIOS
                handle = await scenario(world)
                outcome = await handle.result()
                history = await handle.fetch_history()
            target.write_text(scrubbed(history.to_json()) + "\n")
            sys.stdout.write(f"{target.name}: {outcome.state}\n")


def scrubbed(history: str) -> str:
    """Without what names this machine: it does not matter for a replay."""

    def scrub(part: object) -> object:
        if isinstance(part, list):
            return [scrub(inner) for inner in part]
        if isinstance(part, dict):
            return {
                name: "" if name in ("stackTrace", "identity") else scrub(inner)
                for name, inner in part.items()
            }
        return part

    return json.dumps(scrub(json.loads(history)), indent=1)


if __name__ == "__main__":
    asyncio.run(main())
