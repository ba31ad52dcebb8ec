"""What Temporal knows of one workflow now: whether it lives, and which steps it waits for."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState, WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    ResetActivityRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from cortex.domain.errors import TemporalUnavailable

Life = Literal["running", "closed", "missing"]

_CALL: Final = timedelta(seconds=5)
_LIVING: Final = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED,
)


@dataclass(frozen=True)
class PendingStep:
    """An activity that has not ended.

    Attributes:
        at: What it is at, by its last heartbeat.
        next_at: When it is tried again, while it waits for that.
    """

    activity_id: str
    activity: str
    attempt: int
    running: bool
    scheduled_at: datetime | None
    started_at: datetime | None
    next_at: datetime | None
    error: str
    at: str = ""


@dataclass(frozen=True)
class WorkflowRun:
    life: Life
    run_id: str = ""
    pending: tuple[PendingStep, ...] = ()


async def look(client: Client, workflow_id: str) -> WorkflowRun:
    """The newest run of a workflow.

    Raises:
        TemporalUnavailable: it cannot be told now.
    """
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    try:
        found = await client.workflow_service.describe_workflow_execution(request, timeout=_CALL)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return WorkflowRun("missing")
        raise away(error) from error
    except RuntimeError as error:  # a lazy client's first connect
        raise away(error) from error
    info = found.workflow_execution_info
    return WorkflowRun(
        life="running" if info.status in _LIVING else "closed",
        run_id=info.execution.run_id,
        pending=tuple(_step(item, client) for item in found.pending_activities),
    )


async def run_now(client: Client, workflow_id: str, run_id: str, step: PendingStep) -> bool:
    """Let a step that waits for its next try run now, and start one anew that hangs.

    False if it has ended meanwhile.

    Raises:
        TemporalUnavailable: Temporal does not answer.
    """
    request = ResetActivityRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        identity="cortex",
        id=step.activity_id,
    )
    try:
        await client.workflow_service.reset_activity(request, timeout=_CALL)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        raise away(error) from error
    except RuntimeError as error:
        raise away(error) from error
    return True


def away(error: RPCError | RuntimeError) -> TemporalUnavailable:
    """What is told when Temporal does not answer."""
    said = error.message if isinstance(error, RPCError) else str(error)
    return TemporalUnavailable(f"Temporal does not answer: {said}")


def time_of(stamp: Timestamp) -> datetime | None:
    """A time of Temporal's; None where it is not set."""
    return stamp.ToDatetime(tzinfo=UTC) if stamp.seconds else None


def root_message(failure: Failure) -> str:
    """The innermost message of a failure: what the step itself said."""
    while failure.HasField("cause"):
        failure = failure.cause
    return failure.message


def _step(info: PendingActivityInfo, client: Client) -> PendingStep:
    running = info.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    return PendingStep(
        activity_id=info.activity_id,
        activity=info.activity_type.name,
        attempt=info.attempt,
        running=running,
        scheduled_at=time_of(info.scheduled_time),
        started_at=time_of(info.last_started_time),
        next_at=None if running else time_of(info.next_attempt_schedule_time),
        error=root_message(info.last_failure) if info.HasField("last_failure") else "",
        at=_details(info, client),
    )


def _details(info: PendingActivityInfo, client: Client) -> str:
    try:
        found = client.data_converter.payload_converter.from_payloads(
            info.heartbeat_details.payloads
        )
    except Exception:  # of another version or encrypted: it is only shown
        return ""
    return " ".join(item for item in found if isinstance(item, str))[:60]
