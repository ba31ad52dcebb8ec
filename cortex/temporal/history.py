"""Reading a workflow's history for the explorer: its activities, signals, timers, and its end.

Inputs and results are not shown: of them only the lease key is taken, which says what an activity
was about.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import orjson
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from cortex.domain.errors import TemporalUnavailable
from cortex.domain.trace.model import History, Ran
from cortex.temporal.clear import clear_event
from cortex.temporal.contracts import rescue_id
from cortex.temporal.describe import PendingStep, WorkflowRun, look, root_message, time_of

_CALL: Final = timedelta(seconds=5)
_PATIENCE: Final = 10.0
_MOST_EVENTS: Final = 5000
_MAX_ERROR: Final = 500
_E = EventType
_ENDS: Final[dict[int, Literal["done", "failed", "timed_out", "cancelled"]]] = {
    _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "done",
    _E.EVENT_TYPE_ACTIVITY_TASK_FAILED: "failed",
    _E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "timed_out",
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "cancelled",
}
_ATTRIBUTES: Final = {
    _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "activity_task_completed_event_attributes",
    _E.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    _E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "activity_task_canceled_event_attributes",
}
_BAD_ENDS: Final = {
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "was terminated in Temporal",
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "failed in Temporal",
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed out in Temporal",
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "was cancelled in Temporal",
}


async def job_history(client: Client, job_id: str) -> History:
    """What Temporal knows of a job: of its workflow, and of the rescue if there was one."""
    own = await read_history(client, job_id)
    if own.source == "away" or not (own.source == "gone" or own.note):
        return own
    rescue = await read_history(client, rescue_id(job_id))
    if rescue.source != "read":
        return own
    note = "; ".join(filter(None, (own.note, "a rescue has looked after it since")))
    return replace(rescue, ran=(*own.ran, *rescue.ran), signals=own.signals, note=note)


async def read_history(client: Client, workflow_id: str) -> History:
    """What Temporal knows of one workflow; never fails."""
    try:
        async with asyncio.timeout(_PATIENCE):
            sight = await look(client, workflow_id)
            if sight.life == "missing":
                return _gone()
            return await _read(client, workflow_id, sight)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return _gone()
        return _away(error.message)
    except TemporalUnavailable as error:
        return _away(error.detail)
    except (TimeoutError, RuntimeError) as error:
        return _away(str(error) or "Temporal does not answer in time")


def _gone() -> History:
    why = "Temporal has no history of it (it was not started yet, or has been deleted)"
    return History("gone", f"{why}: this is what the database knows")


def _away(why: str) -> History:
    return History("away", f"{why}: this is what the database knows; tries are missing")


async def _read(client: Client, workflow_id: str, sight: WorkflowRun) -> History:
    handle = client.get_workflow_handle(workflow_id, run_id=sight.run_id)
    book = _Book()
    count = 0
    async for event in handle.fetch_history_events(rpc_timeout=_CALL):
        await clear_event(client.data_converter, event)
        book.take(event)
        count += 1
        if count >= _MOST_EVENTS:
            book.note = f"its history is long: the first {_MOST_EVENTS} events are shown"
            break
    return book.history(sight.pending)


class _Book:
    """Takes events in their order, and sums them up."""

    def __init__(self) -> None:
        self.note = ""
        self._ran: dict[int, Ran] = {}
        self._ids: dict[int, str] = {}
        self._signals: list[tuple[str, datetime]] = []
        self._timers: dict[int, datetime] = {}

    def take(self, event: HistoryEvent) -> None:
        kind = event.event_type
        if kind in _ENDS:
            self._activity_ended(event)
        elif kind in _BAD_ENDS:
            self.note = f"its workflow {_BAD_ENDS[kind]}{_why(event)}"
        elif kind in _TAKERS:
            _TAKERS[kind](self, event)

    def history(self, pending: Iterable[PendingStep]) -> History:
        """All of it, with what Temporal says of the activities that have not ended."""
        waiting = {step.activity_id: step for step in pending}
        ran = [
            _with_pending(ran, waiting[self._ids[number]])
            if ran.outcome == "pending" and self._ids.get(number) in waiting
            else ran
            for number, ran in self._ran.items()
        ]
        wakes = min(self._timers.values(), default=None)
        return History("read", self.note, tuple(ran), tuple(self._signals), wakes)

    def _scheduled(self, event: HistoryEvent) -> None:
        told = event.activity_task_scheduled_event_attributes
        self._ids[event.event_id] = told.activity_id
        self._ran[event.event_id] = Ran(
            activity=told.activity_type.name,
            queue=told.task_queue.name,
            lease_key=_lease_key(told.input.payloads),
            scheduled_at=time_of(event.event_time),
        )

    def _started(self, event: HistoryEvent) -> None:
        told = event.activity_task_started_event_attributes
        before = self._ran.get(told.scheduled_event_id)
        if before is None:
            return
        error = root_message(told.last_failure) if told.HasField("last_failure") else ""
        self._ran[told.scheduled_event_id] = replace(
            before,
            started_at=time_of(event.event_time),
            tries=max(1, told.attempt),
            error=error[:_MAX_ERROR],
        )

    def _activity_ended(self, event: HistoryEvent) -> None:
        told: Any = getattr(event, _ATTRIBUTES[event.event_type])
        before = self._ran.get(told.scheduled_event_id)
        if before is None:
            return
        outcome = _ENDS[event.event_type]
        error = before.error
        if outcome in ("failed", "timed_out"):
            error = root_message(told.failure) or error
        self._ran[told.scheduled_event_id] = replace(
            before,
            ended_at=time_of(event.event_time),
            outcome=outcome,
            error=error[:_MAX_ERROR],
        )

    def _marker(self, event: HistoryEvent) -> None:
        """A local activity: it leaves one note when it is over."""
        told = event.marker_recorded_event_attributes
        if told.marker_name != "core_local_activity":
            return
        data = _json(told.details["data"].payloads) if "data" in told.details else {}
        result = told.details["result"].payloads if "result" in told.details else ()
        failed = told.HasField("failure")
        self._ran[event.event_id] = Ran(
            activity=str(data.get("activity_type", "")),
            lease_key=_lease_key(result),
            scheduled_at=time_of(event.event_time),
            ended_at=time_of(event.event_time),
            tries=int(data.get("attempt", 1)),
            outcome="failed" if failed else "done",
            error=root_message(told.failure)[:_MAX_ERROR] if failed else "",
        )

    def _signalled(self, event: HistoryEvent) -> None:
        name = event.workflow_execution_signaled_event_attributes.signal_name
        when = time_of(event.event_time)
        if when is not None:
            self._signals.append((name, when))

    def _timer_set(self, event: HistoryEvent) -> None:
        told = event.timer_started_event_attributes
        when = time_of(event.event_time) or datetime.now(UTC)
        self._timers[event.event_id] = when + told.start_to_fire_timeout.ToTimedelta()

    def _timer_fired(self, event: HistoryEvent) -> None:
        self._timers.pop(event.timer_fired_event_attributes.started_event_id, None)

    def _timer_dropped(self, event: HistoryEvent) -> None:
        self._timers.pop(event.timer_canceled_event_attributes.started_event_id, None)


_TAKERS: Final[dict[int, Any]] = {
    _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: _Book._scheduled,
    _E.EVENT_TYPE_ACTIVITY_TASK_STARTED: _Book._started,
    _E.EVENT_TYPE_MARKER_RECORDED: _Book._marker,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _Book._signalled,
    _E.EVENT_TYPE_TIMER_STARTED: _Book._timer_set,
    _E.EVENT_TYPE_TIMER_FIRED: _Book._timer_fired,
    _E.EVENT_TYPE_TIMER_CANCELED: _Book._timer_dropped,
}


def _with_pending(ran: Ran, step: PendingStep) -> Ran:
    return replace(
        ran,
        started_at=step.started_at or ran.started_at,
        tries=step.attempt,
        running=step.running,
        error=step.error[:_MAX_ERROR],
        at=step.at if step.running else "",
        next_at=step.next_at,
    )


def _why(event: HistoryEvent) -> str:
    terminated = event.workflow_execution_terminated_event_attributes.reason
    failed = root_message(event.workflow_execution_failed_event_attributes.failure)
    text = terminated or failed
    return f" ({text[:200]})" if text else ""


def _lease_key(payloads: Iterable[Payload]) -> str | None:
    key = _json(payloads).get("lease_key")
    return key if isinstance(key, str) else None


def _json(payloads: Iterable[Payload]) -> dict[str, Any]:
    """The first payload, if it is a JSON object; encrypted ones are not read."""
    for payload in payloads:
        if payload.metadata.get("encoding") != b"json/plain":
            return {}
        try:
            content = orjson.loads(payload.data)
        except orjson.JSONDecodeError:
            return {}
        return content if isinstance(content, dict) else {}
    return {}
