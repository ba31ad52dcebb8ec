"""Temporal schedules: housekeeping, the look at the books, and what is done for each provider.

Every worker makes sure of them, so all of this may be repeated and run at the same time.
"""

import asyncio
import random
from collections.abc import Iterable
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from cortex.settings import BudgetSettings, ReconcileSettings, Settings
from cortex.temporal.contracts import (
    BUDGETS_WORKFLOW,
    HEALTH_WORKFLOW,
    MAINTENANCE_WORKFLOW,
    RECONCILE_BOOKS,
    RECONCILE_WORKFLOW,
    TASK_QUEUE,
    HealthInput,
    ReconcileInput,
    health_id,
    reconcile_id,
)

_MAINTENANCE = "maintenance"
_MAINTENANCE_EVERY = timedelta(hours=1)
_CALL = timedelta(seconds=5)
_PAUSES = (0.2, 0.5, 1.0, 2.0)
_PREFIXES = (health_id(""), "reconcile:")


async def ensure_maintenance(client: Client) -> None:
    """The housekeeping schedule exists and is as this version wants it."""
    action = ScheduleActionStartWorkflow(
        MAINTENANCE_WORKFLOW, id=_MAINTENANCE, task_queue=TASK_QUEUE
    )
    await ensure_schedule(client, _MAINTENANCE, action, _MAINTENANCE_EVERY)


async def maintain_now(client: Client) -> None:
    """Let the housekeeping run now; one that runs already is followed by another.

    Raises:
        RPCError: Temporal is away, or no worker has made the schedule yet.
    """
    handle = client.get_schedule_handle(_MAINTENANCE)
    await handle.trigger(overlap=ScheduleOverlapPolicy.BUFFER_ONE, rpc_timeout=_CALL)


async def ensure_budgets(client: Client, rules: BudgetSettings) -> None:
    """All budgets are looked at every `budgets.check_every`."""
    action = ScheduleActionStartWorkflow(BUDGETS_WORKFLOW, id="budgets", task_queue=TASK_QUEUE)
    await ensure_schedule(client, "budgets", action, rules.check_every)


async def ensure_books(client: Client, rules: ReconcileSettings) -> None:
    """Jobs, groups and holds are compared with Temporal every `reconcile.every`."""
    await ensure_schedule(client, RECONCILE_BOOKS, _books(), rules.every)


async def ensure_provider(client: Client, provider_id: str, settings: Settings) -> None:
    """A provider is checked every `health.interval`, and compared every `reconcile.every`."""
    for name, action, every in _of_provider(provider_id, settings):
        await ensure_schedule(client, name, action, every)


async def remove_provider(client: Client, provider_id: str) -> None:
    """A provider is looked at no more; harmless if it was not."""
    for name in provider_schedules(provider_id):
        await _remove(client, name)


async def remove_others(client: Client, provider_ids: Iterable[str]) -> None:
    """Only these providers are looked at, as far as Temporal's list is up to date."""
    wanted = {name for provider_id in provider_ids for name in provider_schedules(provider_id)}
    for name in await scheduled(client) - wanted:
        await _remove(client, name)


def provider_schedules(provider_id: str) -> tuple[str, ...]:
    """The ids of the schedules of a provider."""
    return (health_id(provider_id), reconcile_id(provider_id))


async def scheduled(client: Client) -> set[str]:
    """The ids of all schedules of providers, as far as Temporal's list is up to date."""
    return {
        schedule.id
        async for schedule in await client.list_schedules()
        if schedule.id.startswith(_PREFIXES) and schedule.id != RECONCILE_BOOKS
    }


def _of_provider(
    provider_id: str, settings: Settings
) -> list[tuple[str, ScheduleActionStartWorkflow, timedelta]]:
    rules = settings.health
    check = ScheduleActionStartWorkflow(
        HEALTH_WORKFLOW,
        HealthInput(provider_id=provider_id, timeout=rules.timeout),
        id=health_id(provider_id),
        task_queue=TASK_QUEUE,
        static_summary=f"how is {provider_id}?",
    )
    compare = ScheduleActionStartWorkflow(
        RECONCILE_WORKFLOW,
        ReconcileInput(providers=(provider_id,), again=True),
        id=reconcile_id(provider_id),
        task_queue=TASK_QUEUE,
        static_summary=f"what does {provider_id} hold?",
    )
    return [
        (health_id(provider_id), check, rules.interval),
        (reconcile_id(provider_id), compare, settings.reconcile.every),
    ]


def _books() -> ScheduleActionStartWorkflow:
    return ScheduleActionStartWorkflow(
        RECONCILE_WORKFLOW,
        ReconcileInput(books=True, again=True),
        id=RECONCILE_BOOKS,
        task_queue=TASK_QUEUE,
        static_summary="who looks after the jobs?",
    )


async def ensure_schedule(
    client: Client, name: str, action: ScheduleActionStartWorkflow, every: timedelta
) -> None:
    """The schedule exists and is so. A pause that an operator set is kept."""
    # After an outage nothing is made up for: only the present state matters.
    wanted = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(catchup_window=max(every, timedelta(seconds=10))),
    )
    for pause in (*_PAUSES, None):
        try:
            return await _make_or_update(client, name, wanted)
        except RPCError as error:
            # Many workers that start at once are more than a schedule answers at a time.
            if pause is None or error.status != RPCStatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))


async def _make_or_update(client: Client, name: str, wanted: Schedule) -> None:
    try:
        await client.create_schedule(name, wanted)
    except ScheduleAlreadyRunningError:

        async def update(now: ScheduleUpdateInput) -> ScheduleUpdate:
            wanted.state = now.description.schedule.state
            return ScheduleUpdate(schedule=wanted)

        await client.get_schedule_handle(name).update(update)


async def _remove(client: Client, name: str) -> None:
    try:
        await client.get_schedule_handle(name).delete()
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
