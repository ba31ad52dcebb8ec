"""Schedules of users in Temporal: each is made what its row says, whatever it was.

The row is the truth. What is told here may come late, twice, or in another order: a schedule of a
later revision is never made an earlier one again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.client import Schedule as TemporalSchedule
from temporalio.service import RPCError, RPCStatusCode

from cortex.domain.errors import CortexError, TemporalUnavailable
from cortex.domain.schedules import Schedule, Span
from cortex.domain.schedules.cron import Cron, parse_cron
from cortex.temporal.contracts import (
    SCHEDULED_WORKFLOW,
    TASK_QUEUE,
    ScheduledInput,
    firing_id,
    scheduled_id,
)

PREFIX: Final = scheduled_id("")
_CALL: Final = timedelta(seconds=3)
_ALLOW_ALL: Final = ScheduleOverlapPolicy.ALLOW_ALL
_EVERY_DAY: Final = tuple(range(1, 32))
_EVERY_WEEKDAY: Final = tuple(range(7))


async def tell(client: Client, schedule_id: str, schedule: Schedule | None) -> None:
    """Make Temporal's schedule what this one is; None: take it away.

    Raises:
        RPCError: Temporal is away, or refuses it.
    """
    handle = client.get_schedule_handle(scheduled_id(schedule_id))
    if schedule is None:
        try:
            await handle.delete(rpc_timeout=_CALL)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        return
    wanted = as_temporal(schedule)
    try:
        await client.create_schedule(scheduled_id(schedule_id), wanted, rpc_timeout=_CALL)
    except ScheduleAlreadyRunningError:

        async def update(now: ScheduleUpdateInput) -> ScheduleUpdate | None:
            older = await _revision(client, now.description.schedule) < schedule.revision
            return ScheduleUpdate(schedule=wanted) if older else None

        await handle.update(update, rpc_timeout=_CALL)


async def backfill(client: Client, schedule_id: str, span: Span) -> None:
    """Have every time in a span fired; one that was already is not again.

    Raises:
        RPCError: Temporal is away, or has no such schedule yet.
    """
    # Temporal takes what is after the start.
    start = span.start - timedelta(seconds=1)
    await client.get_schedule_handle(scheduled_id(schedule_id)).backfill(
        ScheduleBackfill(start_at=start, end_at=span.end, overlap=_ALLOW_ALL), rpc_timeout=_CALL
    )


async def next_times(client: Client, schedule_id: str) -> list[datetime]:
    """When Temporal is going to fire it next.

    Raises:
        RPCError: Temporal is away, or has no such schedule.
    """
    handle = client.get_schedule_handle(scheduled_id(schedule_id))
    return list((await handle.describe(rpc_timeout=_CALL)).info.next_action_times)


async def known(client: Client) -> set[str]:
    """The ids of all schedules of users, as far as Temporal's list is up to date.

    Raises:
        TemporalUnavailable: it cannot be asked.
    """
    try:
        return {
            each.id.removeprefix(PREFIX)
            async for each in await client.list_schedules()
            if each.id.startswith(PREFIX)
        }
    except (RPCError, RuntimeError) as error:
        raise TemporalUnavailable(f"Temporal does not list its schedules: {error}") from error


def as_temporal(schedule: Schedule) -> TemporalSchedule:
    """A schedule as Temporal has it. Whether one may overlap another, the database decides."""
    return TemporalSchedule(
        action=ScheduleActionStartWorkflow(
            SCHEDULED_WORKFLOW,
            ScheduledInput(schedule_id=schedule.id, revision=schedule.revision),
            id=firing_id(schedule.id),
            task_queue=TASK_QUEUE,
            static_summary=f"{schedule.name} · {schedule.cron} {schedule.timezone}",
        ),
        spec=ScheduleSpec(
            calendars=_calendars(parse_cron(schedule.cron)),
            start_at=schedule.start_at,
            end_at=schedule.end_at,
            jitter=schedule.jitter or None,
            time_zone_name=schedule.timezone,
        ),
        policy=SchedulePolicy(overlap=_ALLOW_ALL, catchup_window=schedule.catchup),
        state=ScheduleState(
            paused=schedule.paused, note=schedule.pause_reason or schedule.note or None
        ),
    )


def _calendars(cron: Cron) -> Sequence[ScheduleCalendarSpec]:
    """Not as a cron expression: Temporal takes two days as both, where cron takes either."""
    if cron.both_days:
        return [_calendar(cron, cron.days, cron.weekdays)]
    return [
        _calendar(cron, cron.days, _EVERY_WEEKDAY),
        _calendar(cron, _EVERY_DAY, cron.weekdays),
    ]


def _calendar(cron: Cron, days: Sequence[int], weekdays: Sequence[int]) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(
        second=_ranges((0,)),
        minute=_ranges(cron.minutes),
        hour=_ranges(cron.hours),
        day_of_month=_ranges(days),
        month=_ranges(cron.months),
        day_of_week=_ranges(weekdays),
    )


def _ranges(values: Sequence[int]) -> list[ScheduleRange]:
    return [ScheduleRange(value, value) for value in values]


async def _revision(client: Client, schedule: TemporalSchedule) -> int:
    """Which revision it was made from; 0 if that cannot be told."""
    action = schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or not action.args:
        return 0
    given = action.args[0]
    if isinstance(given, Payload):  # as Temporal keeps it, maybe encrypted
        try:
            (given,) = await client.data_converter.decode([given], [ScheduledInput])
        except (RuntimeError, ValueError, CortexError):
            return 0
    return given.revision if isinstance(given, ScheduledInput) else 0
