"""Telling Temporal what the database decided: starts and signals, harmless to repeat."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from cortex.db.groups.repository import GroupHead
from cortex.db.outbox.commands import Command
from cortex.domain.errors import TemporalUnavailable
from cortex.domain.jobs import Job
from cortex.domain.schedules import Schedule, Span
from cortex.domain.units import format_bytes
from cortex.settings import JobSettings
from cortex.temporal import contracts, firing
from cortex.temporal.contracts import CancelSignal, ExtendSignal, GroupInput, JobInput

_CALL = timedelta(seconds=3)
_AWAY = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.INTERNAL,
    }
)


@dataclass(frozen=True)
class ScheduleNow:
    """A schedule as it is; None: it is gone."""

    id: str
    schedule: Schedule | None


Subject = Job | GroupHead | ScheduleNow
"""Whom a command is about."""


async def deliver(
    client: Client, command: Command, subject: Subject, settings: JobSettings
) -> None:
    """Carry out one command. A workflow that has ended already needs no signal.

    Raises:
        TemporalUnavailable: try again later.
    """
    try:
        async with asyncio.timeout(_CALL.total_seconds() + 2):
            if isinstance(subject, ScheduleNow):
                await _tell_schedule(client, command, subject)
            elif isinstance(subject, GroupHead):
                await _call_group(client, subject, settings)
            elif command.kind == "start":
                await _start(client, command, subject, settings)
            else:
                await _signal(client, command, subject)
    except RPCError as error:
        if error.status in _AWAY:
            raise TemporalUnavailable(f"Temporal does not answer: {error.message}") from error
        raise
    except (TimeoutError, RuntimeError) as error:  # RuntimeError: a lazy client's first connect
        raise TemporalUnavailable(f"Temporal does not answer: {error}") from error


async def _tell_schedule(client: Client, command: Command, subject: ScheduleNow) -> None:
    if command.kind == "schedule":
        await firing.tell(client, subject.id, subject.schedule)
    elif subject.schedule is not None:
        # It may have been asked for before Temporal knew of the schedule.
        await firing.tell(client, subject.id, subject.schedule)
        await firing.backfill(client, subject.id, Span(**command.payload))


async def _start(client: Client, command: Command, job: Job, settings: JobSettings) -> None:
    if job.state.terminal:
        return  # told long ago; Temporal itself refuses duplicates within its retention only
    try:
        await client.start_workflow(
            contracts.JOB_WORKFLOW,
            job_input(job, settings, command.payload),
            id=job.id,
            task_queue=contracts.TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=_attributes(job, job.group_id),
            static_summary=summary(job),
            static_details=_details(job),
            rpc_timeout=_CALL,
        )
    except WorkflowAlreadyStartedError:
        return


def job_input(job: Job, settings: JobSettings, payload: dict[str, Any]) -> JobInput:
    """What a job's workflow is told; the payload of its start command has what its group wants."""
    spec = job.spec
    told: dict[str, Any] = {"retries_on_lost": spec.retries.on_lost, **payload}
    return JobInput(
        job_id=job.id,
        placement_timeout=spec.placement.timeout,
        retries_on_failure=spec.retries.on_failure,
        backoff=spec.retries.backoff,
        max_backoff=spec.retries.max_backoff,
        failover=spec.placement.failover,
        heartbeat_timeout=settings.heartbeat_timeout,
        safety_check=settings.safety_check,
        warn_before=min(settings.warn_before, spec.duration / 4),
        **told,
    )


async def _call_group(client: Client, group: GroupHead, settings: JobSettings) -> None:
    """Wake the group's workflow; start it if it is not there, whatever has become of it.

    It keeps nothing that is not in the database, so a new one goes on where the last one was.
    """
    if group.state.terminal:
        return
    await client.start_workflow(
        contracts.GROUP_WORKFLOW,
        GroupInput(group_id=group.id, heartbeat_timeout=settings.heartbeat_timeout),
        id=group.id,
        task_queue=contracts.TASK_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        search_attributes=_attributes(group, group.id),
        static_summary=f"{group.name} · group",
        start_signal=contracts.SIGNAL_LOOK,
        rpc_timeout=_CALL,
    )


def _attributes(subject: Job | GroupHead, group_id: str | None) -> TypedSearchAttributes:
    attributes: list[SearchAttributePair[Any]] = [
        SearchAttributePair(contracts.STATUS, subject.state.value),
        SearchAttributePair(contracts.USER, subject.owner),
    ]
    if group_id is not None:
        attributes.append(SearchAttributePair(contracts.GROUP, group_id))
    if subject.labels:
        labels = [f"{key}={value}" for key, value in sorted(subject.labels.items())]
        attributes.append(SearchAttributePair(contracts.LABELS, labels))
    return TypedSearchAttributes(attributes)


async def _signal(client: Client, command: Command, job: Job) -> None:
    handle = client.get_workflow_handle(job.id)
    message: tuple[CancelSignal | ExtendSignal, ...]
    if command.kind == "cancel":
        name, message = contracts.SIGNAL_CANCEL, (CancelSignal(**command.payload),)
    elif command.kind == "nudge":
        name, message = contracts.SIGNAL_LOOK, ()
    else:
        name, message = contracts.SIGNAL_EXTEND, (ExtendSignal(deadline_at=job.deadline_at),)
    try:
        await handle.signal(name, args=message, rpc_timeout=_CALL)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


def summary(job: Job) -> str:
    """One line for lists in the Web UI: `hello · busybox:1.36 · 0.5 cpu, 256Mi`."""
    need = job.spec.resources
    gpu = f", {need.gpu.count} x {need.gpu.model or need.gpu.vendor}" if need.gpu else ""
    what = job.spec.image or " ".join(job.spec.command)[:60]
    return f"{job.name} · {what} · {need.cpu.normalize():f} cpu, {format_bytes(need.memory)}{gpu}"[
        :190
    ]


def _details(job: Job) -> str:
    labels = ", ".join(f"`{key}={value}`" for key, value in sorted(job.labels.items())) or "none"
    return (
        f"**Job** `{job.id}`\n\n**Name** {job.name}\n\n**Owner** {job.owner}\n\n**Labels** {labels}"
    )
