"""Records histories of the workflows of one step: `python -m tests.workflows.record_upkeep`.

Watching, asking and looking after providers, housekeeping, budgets. Only those that have none yet;
see `record_histories` for when to do so.
"""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowContinuedAsNewError, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.contracts import BudgetsResult, WatchInput
from cortex.domain.providers.inspection import Adapter, Inspection, Trial
from cortex.domain.spec import JobSpec
from cortex.temporal import contracts
from tests.workflows.conftest import time_skipping
from tests.workflows.record_histories import FOLDER as JOBS
from tests.workflows.record_histories import scrubbed
from tests.workflows.serving import serving
from workflows.registry import WORKFLOWS

FOLDER = JOBS / "upkeep"
Handle = WorkflowHandle[Any, Any]


@dataclass
class UpkeepWorld:
    """One answer for all steps, or a failure."""

    env: WorkflowEnvironment
    provider: str = field(default_factory=lambda: f"p-{uuid.uuid4().hex[:6]}")
    queue: str = field(default_factory=lambda: f"q-{uuid.uuid4().hex[:6]}")
    broken: bool = False
    waits: int = 0
    shifts: int = 0

    def activities(self) -> list[Callable[..., Any]]:
        return [
            *(self.watch, self.quote, self.maintain, self.check_budgets),
            *(self.check_health, self.check_draft, self.inspect_provider, self.fire),
        ]

    @activity.defn
    async def watch(self, _given: WatchInput) -> None:
        self.shifts += 1
        if self.shifts > 1:  # the next run is not what is recorded
            self.fail()

    @activity.defn
    async def quote(self, _given: contracts.QuoteInput) -> contracts.QuoteResult:
        self.maybe_fail()
        return contracts.QuoteResult(note="nobody offers")

    @activity.defn
    async def maintain(self) -> dict[str, int]:
        self.maybe_fail()
        return {"events": 3}

    @activity.defn
    async def check_budgets(self) -> BudgetsResult:
        self.maybe_fail()
        return BudgetsResult(budgets=2)

    @activity.defn
    async def check_health(self, _given: contracts.HealthInput) -> contracts.HealthResult:
        self.maybe_fail()
        return contracts.HealthResult(status="online")

    @activity.defn
    async def check_draft(
        self, _given: contracts.ProviderCheckInput
    ) -> contracts.ProviderCheckResult:
        self.maybe_fail()
        return contracts.ProviderCheckResult()

    @activity.defn
    async def inspect_provider(self, inspection: contracts.InspectInput) -> Inspection:
        self.maybe_fail()
        return Inspection(
            provider_id=inspection.provider_id,
            adapter=Adapter(type="null"),
            trial=Trial(),
            worker="w-1",
            recording_since=datetime(2026, 11, 29, tzinfo=UTC),
        )

    @activity.defn
    async def fire(self, due: contracts.FiringInput) -> contracts.FiringResult:
        self.maybe_fail()
        if activity.info().attempt <= self.waits:
            raise ApplicationError("`job_1` has not ended yet", type="EarlierJobRuns")
        return contracts.FiringResult(state="submitted", made=f"job of {due.schedule_id}")

    def maybe_fail(self) -> None:
        if self.broken:
            self.fail()

    def fail(self) -> None:
        raise ApplicationError("a bug", type="Bug", non_retryable=True)

    async def start(self, workflow: str, *args: object) -> Handle:
        return await self.env.client.start_workflow(
            workflow, args=args, id=f"{workflow}-{uuid.uuid4().hex}", task_queue=self.queue
        )


async def monitor(world: UpkeepWorld) -> Handle:
    """One shift, and then a fresh run."""
    shift = contracts.MonitorInput(provider_id=world.provider)
    started = await world.start(contracts.MONITOR_WORKFLOW, shift)
    return world.env.client.get_workflow_handle(started.id, run_id=started.first_execution_run_id)


async def quote(world: UpkeepWorld) -> Handle:
    question = contracts.QuoteInput(spec=JobSpec(command=["true"]))
    return await world.start(contracts.QUOTE_WORKFLOW, question)


async def maintenance(world: UpkeepWorld) -> Handle:
    return await world.start(contracts.MAINTENANCE_WORKFLOW)


async def budgets(world: UpkeepWorld) -> Handle:
    return await world.start(contracts.BUDGETS_WORKFLOW)


async def budgets_failed(world: UpkeepWorld) -> Handle:
    world.broken = True
    return await world.start(contracts.BUDGETS_WORKFLOW)


async def health(world: UpkeepWorld) -> Handle:
    check = contracts.HealthInput(provider_id=world.provider)
    return await world.start(contracts.HEALTH_WORKFLOW, check)


async def health_unknown(world: UpkeepWorld) -> Handle:
    world.broken = True
    return await health(world)


async def provider_check(world: UpkeepWorld) -> Handle:
    check = contracts.ProviderCheckInput(draft_id="draft-1")
    return await world.start(contracts.PROVIDER_CHECK_WORKFLOW, check)


async def inspected(world: UpkeepWorld) -> Handle:
    inspection = contracts.InspectInput(provider_id=world.provider)
    return await world.start(contracts.INSPECT_WORKFLOW, inspection)


async def not_inspected(world: UpkeepWorld) -> Handle:
    world.broken = True
    return await inspected(world)


async def scheduled(world: UpkeepWorld) -> Handle:
    due = contracts.ScheduledInput(schedule_id="sch_1", revision=2)
    return await world.start(contracts.SCHEDULED_WORKFLOW, due)


async def scheduled_later(world: UpkeepWorld) -> Handle:
    """It waited for the end of the job before."""
    world.waits = 3
    return await scheduled(world)


SCENARIOS: tuple[Callable[[UpkeepWorld], Awaitable[Handle]], ...] = (
    monitor,
    quote,
    maintenance,
    budgets,
    budgets_failed,
    health,
    health_unknown,
    provider_check,
    inspected,
    not_inspected,
    scheduled,
    scheduled_later,
)


@asynccontextmanager
async def open_upkeep_world(env: WorkflowEnvironment) -> AsyncIterator[UpkeepWorld]:
    """A world of its own, with workers that serve it."""
    made = UpkeepWorld(env)
    queues = {made.queue: WORKFLOWS, contracts.provider_queue(made.provider): ()}
    async with serving(env.client, queues, made.activities()):
        yield made


async def main() -> None:
    """Write one file per scenario that has none."""
    FOLDER.mkdir(exist_ok=True)
    async with time_skipping() as env:
        for scenario in SCENARIOS:
            target = FOLDER / f"{scenario.__name__}.json"
            if target.exists():
                continue
            async with open_upkeep_world(env) as world:
                handle = await scenario(world)
                try:
                    await handle.result(follow_runs=False)
                except WorkflowContinuedAsNewError:
                    pass
                except WorkflowFailureError:
                    if not world.broken:
                        raise
                history = await handle.fetch_history()
            target.write_text(scrubbed(history.to_json()) + "\n")
            sys.stdout.write(f"{target.name}\n")


if __name__ == "__main__":
    asyncio.run(main())
