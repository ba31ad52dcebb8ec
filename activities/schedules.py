"""The step of a schedule: what is due is submitted, once."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from cortex.db.engine import Database
from cortex.domain.errors import ServiceUnavailable
from cortex.domain.schedules import RunState
from cortex.settings import Settings
from cortex.temporal.contracts import FiringInput, FiringResult

if TYPE_CHECKING:
    from cortex.services.schedules.firing import Firing

WAITS: Final = "EarlierJobRuns"
_LOOK_AGAIN: Final = timedelta(seconds=5)


class ScheduleActivities:
    def __init__(self, settings: Settings, database: Database, client: Client) -> None:
        self._settings = settings
        self._database = database
        self._client = client
        self._firing: Firing | None = None

    @activity.defn
    async def fire(self, due: FiringInput) -> FiringResult:
        """Submit what is due; tried again while an earlier job has not ended, or all is away."""
        try:
            fired = await self._opened().fire(due.schedule_id, due.due_at)
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

    def _opened(self) -> "Firing":
        if self._firing is None:
            # All that takes jobs in, which a worker without schedules does not need.
            from cortex.services.schedules.opening import open_firing

            self._firing = open_firing(self._settings, self._database, self._client)
        return self._firing
