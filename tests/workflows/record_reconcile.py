"""Records histories of `Reconcile` and `Rescue`: `python -m tests.workflows.record_reconcile`.

Only those that have none yet; see `record_histories` for when to do so.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from activities.reconcile.rescue import RescuePlan
from tests.workflows.conftest import time_skipping
from tests.workflows.reconcile_world import FAILED, ReconcileWorld, open_reconcile_world
from tests.workflows.record_histories import FOLDER as JOBS
from tests.workflows.record_histories import scrubbed

FOLDER = JOBS / "reconcile"
Handle = WorkflowHandle[Any, Any]


async def rescued(world: ReconcileWorld) -> Handle:
    world.plan = RescuePlan(leases=(world.lease(1), world.lease(2)), outcome=FAILED)
    world.failing_settles = 2
    return await world.rescue()


async def rescued_without_lease(world: ReconcileWorld) -> Handle:
    world.plan = RescuePlan(outcome=FAILED)
    return await world.rescue()


async def rescue_not_needed(world: ReconcileWorld) -> Handle:
    world.plan = RescuePlan(why_not="its workflow is running")
    return await world.rescue()


async def compared(world: ReconcileWorld) -> Handle:
    return await world.reconcile(world.provider)


async def compared_with_nobody_there(world: ReconcileWorld) -> Handle:
    return await world.reconcile(world.provider, "nobody")


async def compared_again(world: ReconcileWorld) -> Handle:
    world.grace = timedelta(minutes=2)
    return await world.reconcile(again=True)


SCENARIOS: tuple[Callable[[ReconcileWorld], Awaitable[Handle]], ...] = (
    rescued,
    rescued_without_lease,
    rescue_not_needed,
    compared,
    compared_with_nobody_there,
    compared_again,
)


async def main() -> None:
    """Write one file per scenario that has none."""
    FOLDER.mkdir(exist_ok=True)
    async with time_skipping() as env:
        for scenario in SCENARIOS:
            target = FOLDER / f"{scenario.__name__}.json"
            if target.exists():
                continue
            async with open_reconcile_world(env) as world:
                handle = await scenario(world)
                await handle.result()
                history = await handle.fetch_history()
            target.write_text(scrubbed(history.to_json()) + "\n")
            sys.stdout.write(f"{target.name}\n")


if __name__ == "__main__":
    asyncio.run(main())
