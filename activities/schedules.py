"""The step of a schedule: what is due is submitted, once."""

from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from cortex.domain.errors import ServiceUnavailable
from cortex.domain.schedules import RunState
from cortex.services.schedules.firing import Firing
from cortex.temporal.contracts import FiringInput, FiringResult

WAITS: Final = "EarlierJobRuns"
_LOOK_AGAIN: Final = timedelta(seconds=5)


class ScheduleActivities:
    def __init__(self, firing: Firing) -> None:
        self._firing = firing

    @activity.defn
    async def fire(self, due: FiringInput) -> FiringResult:
        """Submit what is due; tried again while an earlier job has not ended, or all is away."""
        try:
            fired = await self._firing.fire(due.schedule_id, due.due_at)
        except ServiceUnavailable as error:
            raise ApplicationError(
                error.detail, type=type(error).__name__, category=ApplicationErrorCategory.BENIGN
            ) from None
        if fired.state is RunState.WAITING:
            raise ApplicationError(
                fired.message,
                type=WAITS,
                next_retry_delay=_LOOK_AGAIN,
                category=ApplicationErrorCategory.BENIGN,
            )
        return FiringResult(state=fired.state.value, made=fired.made, message=fired.message)
