"""A look at a provider, for whoever asks."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutError,
    TimeoutType,
)

with workflow.unsafe.imports_passed_through():
    from activities.providers.inspection import InspectActivities
    from cortex.domain.failures import FailureType
    from cortex.domain.providers.inspection import Inspection
    from cortex.temporal.contracts import INSPECT_WORKFLOW, InspectInput, provider_queue

_LONGEST = timedelta(seconds=50)
_NOBODY = timedelta(seconds=8)
_HEARTBEAT = timedelta(seconds=15)


@workflow.defn(name=INSPECT_WORKFLOW)
class InspectWorkflow:
    @workflow.run
    async def run(self, inquiry: InspectInput) -> Inspection:
        """One activity, on a worker that has the provider open.

        Raises:
            ApplicationError: why nothing could be said, in words for people.
        """
        try:
            return await workflow.execute_activity_method(
                InspectActivities.inspect_provider,
                inquiry,
                task_queue=provider_queue(inquiry.provider_id),
                schedule_to_start_timeout=_NOBODY,
                start_to_close_timeout=_LONGEST,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=RetryPolicy(maximum_attempts=1),
                summary=f"what does {inquiry.provider_id} hold?",
            )
        except ActivityError as error:
            raise ApplicationError(
                _why(error, inquiry.provider_id), type=FailureType.NOT_INSPECTED.value
            ) from error


def _why(error: ActivityError, provider_id: str) -> str:
    cause = error.cause
    if isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START:
        return f"no worker has provider `{provider_id}` open now; see `cortex providers`"
    if isinstance(cause, TimeoutError):
        return f"`{provider_id}` did not answer within {_LONGEST.total_seconds():g} s"
    if isinstance(cause, FailureError):
        return cause.message[:500]
    return str(cause or error)[:500]
