"""One time of a schedule of a user, started by Temporal's schedule (`schedule:<id>`)."""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from activities.schedules import ScheduleActivities
    from cortex.temporal.contracts import (
        SCHEDULED_WORKFLOW,
        FiringInput,
        FiringResult,
        ScheduledInput,
    )

_DUE = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


@workflow.defn(name=SCHEDULED_WORKFLOW)
class ScheduledWorkflow:
    @workflow.run
    async def run(self, scheduled: ScheduledInput) -> FiringResult:
        """One activity, tried until it is said what became of the time: for hours, if need be.

        Whether it is too late by then, the activity decides. It ends long before the job does.
        """
        return await workflow.execute_activity_method(
            ScheduleActivities.fire,
            FiringInput(schedule_id=scheduled.schedule_id, due_at=_due_at()),
            # A worker that dies in it is noticed by this.
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=0),
            summary="submit what is due",
        )


def _due_at() -> datetime:
    """The time that the schedule names, without jitter; by hand from the Web UI: now."""
    due_at = workflow.info().typed_search_attributes.get(_DUE)
    return due_at or workflow.info().start_time
