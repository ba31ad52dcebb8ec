"""Which workflows live, and what happened to those that do not."""

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
)
from temporalio.service import RPCError, RPCStatusCode

from cortex.domain.errors import TemporalUnavailable
from cortex.domain.reconcile import Fate

RUNNING: Final = Fate(status="running")
_MISSING: Final = Fate(status="missing", how="is not in Temporal (its history was deleted or lost)")
_CALL: Final = timedelta(seconds=5)
_AT_ONCE: Final = 20
_SAID: Final = 200
_ENDED: Final = {
    WorkflowExecutionStatus.COMPLETED: "ended in Temporal before it did",
    WorkflowExecutionStatus.CANCELED: "was cancelled in Temporal",
    WorkflowExecutionStatus.FAILED: "failed in Temporal",
    WorkflowExecutionStatus.TERMINATED: "was terminated in Temporal",
    WorkflowExecutionStatus.TIMED_OUT: "timed out in Temporal",
}


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
        asked = await asyncio.gather(*(ask(item) for item in ids if item not in running))
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal does not answer: {error.message}") from error
    except RuntimeError as error:  # a lazy client's first connect
        raise TemporalUnavailable(f"Temporal does not answer: {error}") from error
    return {item: RUNNING for item in ids if item in running} | dict(asked)


async def fate(client: Client, workflow_id: str) -> Fate:
    """How the newest run of a workflow is.

    Raises:
        RPCError: it cannot be told now.
    """
    handle = client.get_workflow_handle(workflow_id)
    try:
        found = await handle.describe(rpc_timeout=_CALL)
    except ValueError:
        return RUNNING  # a status that this client does not know, such as paused: it is no end
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return _MISSING
        raise
    how = _ENDED.get(found.status) if found.status is not None else None
    if how is None:
        return RUNNING
    run = client.get_workflow_handle(workflow_id, run_id=found.run_id)
    said = _said(await _last_event(run))
    end = found.close_time
    return Fate(status="closed", how=f"{how}{said}{_at(end)}", closed_at=end)


async def _running(client: Client, workflow: str) -> set[str]:
    query = f"WorkflowType = '{workflow}' AND ExecutionStatus = 'Running'"
    return {item.id async for item in client.list_workflows(query, rpc_timeout=_CALL)}


async def _last_event(run: WorkflowHandle[Any, Any]) -> HistoryEvent | None:
    last = None
    kind = WorkflowHistoryEventFilterType.CLOSE_EVENT
    try:
        async for event in run.fetch_history_events(event_filter_type=kind, rpc_timeout=_CALL):
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
