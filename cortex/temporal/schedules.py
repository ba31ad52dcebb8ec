"""Temporal schedules: housekeeping, and one health check per provider.

Every worker makes sure of them, so all of this may be repeated and run at the same time.
"""

import asyncio
import random
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from cortex.domain.health import HealthRules
from cortex.temporal.contracts import (
    HEALTH_WORKFLOW,
    MAINTENANCE_WORKFLOW,
    TASK_QUEUE,
    HealthInput,
    health_id,
)

_MAINTENANCE_EVERY = timedelta(hours=1)
_PAUSES = (0.2, 0.5, 1.0, 2.0)
_HEALTH_PREFIX = health_id("")


async def ensure_maintenance(client: Client) -> None:
    """The housekeeping schedule exists and is as this version wants it."""
    action = ScheduleActionStartWorkflow(
        MAINTENANCE_WORKFLOW, id="maintenance", task_queue=TASK_QUEUE
    )
    await ensure_schedule(client, "maintenance", action, _MAINTENANCE_EVERY)


async def ensure_health(client: Client, provider_id: str, rules: HealthRules) -> None:
    """A provider is checked every `health.interval`."""
    name = health_id(provider_id)
    action = ScheduleActionStartWorkflow(
        HEALTH_WORKFLOW,
        HealthInput(provider_id=provider_id, timeout=rules.timeout),
        id=name,
        task_queue=TASK_QUEUE,
        static_summary=f"how is {provider_id}?",
    )
    await ensure_schedule(client, name, action, rules.interval)


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


async def remove_health(client: Client, provider_id: str) -> None:
    """A provider is checked no more; harmless if it was not."""
    try:
        await client.get_schedule_handle(health_id(provider_id)).delete()
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


async def health_schedules(client: Client) -> set[str]:
    """The providers that are checked now, as far as Temporal's list is up to date."""
    found: set[str] = set()
    async for item in await client.list_schedules():
        if item.id.startswith(_HEALTH_PREFIX):
            found.add(item.id.removeprefix(_HEALTH_PREFIX))
    return found
