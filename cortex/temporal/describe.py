"""What Temporal knows of workflows now: which live, what they wait for, how the others ended."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, PendingActivityState, WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    ResetActivityRequest,
)
from temporalio.client import Client, WorkflowHandle, WorkflowHistoryEventFilterType
from temporalio.client import WorkflowExecutionStatus as Status
from temporalio.service import RPCError, RPCStatusCode

from cortex.domain.errors import TemporalUnavailable
from cortex.domain.reconcile import Fate
from cortex.temporal.clear import clear_event, clear_failure, clear_payloads

Life = Literal["running", "closed", "missing"]

_CALL: Final = timedelta(seconds=5)
_LIVING: Final = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED,
)
RUNNING: Final = Fate(status="running")
_MISSING: Final = Fate(status="missing", how="is not in Temporal (its history was deleted or lost)")
_AT_ONCE: Final = 20
_SAID: Final = 200
_ENDED: Final = {
    Status.COMPLETED: "ended in Temporal before it did",
    Status.CANCELED: "was cancelled in Temporal",
    Status.FAILED: "failed in Temporal",
    Status.TERMINATED: "was terminated in Temporal",
    Status.TIMED_OUT: "timed out in Temporal",
}


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
        description = await client.workflow_service.describe_workflow_execution(
            request, timeout=_CALL
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return WorkflowRun("missing")
        raise away(error) from error
    except RuntimeError as error:  # a lazy client's first connect
        raise away(error) from error
    info = description.workflow_execution_info
    return WorkflowRun(
        life="running" if info.status in _LIVING else "closed",
        run_id=info.execution.run_id,
        pending=tuple(
            [await _step(activity, client) for activity in description.pending_activities]
        ),
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


async def _step(info: PendingActivityInfo, client: Client) -> PendingStep:
    if info.HasField("last_failure"):
        await clear_failure(client.data_converter, info.last_failure)
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
        at=await _details(info, client),
    )


async def _details(info: PendingActivityInfo, client: Client) -> str:
    payloads = await clear_payloads(client.data_converter, info.heartbeat_details.payloads)
    try:
        details = client.data_converter.payload_converter.from_payloads(payloads)
    except Exception:  # of another version or encrypted: it is only shown
        return ""
    return " ".join(detail for detail in details if isinstance(detail, str))[:60]


async def fates(client: Client, workflow: str, ids: Collection[str]) -> dict[str, Fate]:
    """How the workflows with these ids are.

    The list of what runs may be behind: whoever is not in it is asked for by name, and only that
    answer says that a workflow is gone.

    Raises:
        TemporalUnavailable: it cannot be told now.
    """
    if not ids:
        return {}
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(workflow_id: str) -> tuple[str, Fate]:
        async with slots:
            return workflow_id, await fate(client, workflow_id)

    try:
        running = await _running(client, workflow)
        asked = await asyncio.gather(
            *(ask(subject_id) for subject_id in ids if subject_id not in running)
        )
    except (RPCError, RuntimeError) as error:  # the latter: a lazy client's first connect
        raise away(error) from error
    return {subject_id: RUNNING for subject_id in ids if subject_id in running} | dict(asked)


async def fate(client: Client, workflow_id: str) -> Fate:
    """How the newest run of a workflow is.

    Raises:
        RPCError: it cannot be told now.
    """
    handle = client.get_workflow_handle(workflow_id)
    try:
        description = await handle.describe(rpc_timeout=_CALL)
    except ValueError:
        return RUNNING  # a status that this client does not know, such as paused: it is no end
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return _MISSING
        raise
    how = _ENDED.get(description.status) if description.status is not None else None
    if how is None:
        return RUNNING
    run = client.get_workflow_handle(workflow_id, run_id=description.run_id)
    said = _said(await _last_event(client, run))
    end = description.close_time
    return Fate(status="closed", how=f"{how}{said}{_at(end)}", closed_at=end)


async def _running(client: Client, workflow: str) -> set[str]:
    query = f"WorkflowType = '{workflow}' AND ExecutionStatus = 'Running'"
    return {execution.id async for execution in client.list_workflows(query, rpc_timeout=_CALL)}


async def _last_event(client: Client, run: WorkflowHandle[Any, Any]) -> HistoryEvent | None:
    last = None
    kind = WorkflowHistoryEventFilterType.CLOSE_EVENT
    try:
        async for event in run.fetch_history_events(event_filter_type=kind, rpc_timeout=_CALL):
            await clear_event(client.data_converter, event)
            last = event
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
    return last


def _said(event: HistoryEvent | None) -> str:
    """What Temporal knows of why, in brackets."""
    if event is None:
        return ""
    parts: list[str] = []
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
        told = event.workflow_execution_terminated_event_attributes
        parts = [
            *([f"reason: {_clip(told.reason)}"] if told.reason else []),
            *([f"by {_clip(told.identity)}"] if told.identity else []),
        ]
    elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        failure = event.workflow_execution_failed_event_attributes.failure
        parts = [_clip(failure.message)] if failure.message else []
    return f" ({', '.join(parts)})" if parts else ""


def _clip(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else f"{line[:_SAID]}…"


def _at(time: datetime | None) -> str:
    return f" at {time:%Y-%m-%d %H:%M:%S} UTC" if time is not None else ""
