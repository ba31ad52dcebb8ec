"""The trace of a job, from what the database and Temporal know. Pure."""

from collections.abc import Iterator
from typing import Final

from cortex.domain.events import Event, EventType
from cortex.domain.states import JobState
from cortex.domain.trace.lease import LeaseSteps
from cortex.domain.trace.model import (
    CommandFact,
    History,
    JobStory,
    Phase,
    StepState,
    TraceStep,
)

_ORDER: Final = {phase: number for number, phase in enumerate(Phase)}
_BAD: Final = (JobState.FAILED,)


def job_steps(story: JobStory, history: History) -> list[TraceStep]:
    """All steps of a job, in the order in which they began; those to come are last."""
    steps = [_accept(story), *_start(story, history)]
    for lease in story.leases:
        steps += LeaseSteps(story, lease, history).all()
    steps += _looking(story, history)
    steps += _asked(story)
    steps += _close(story)
    return in_order(steps)


def in_order(steps: list[TraceStep]) -> list[TraceStep]:
    """By the time of their begin; what has not begun stays behind the last that has."""
    known = [step for step in steps if step.started_at is not None]
    rest = [step for step in steps if step.started_at is None]
    known.sort(
        key=lambda step: (
            step.started_at,
            step.phase is Phase.CLOSE,
            step.attempt or 0,
            _ORDER[step.phase],
        )
    )
    return known + rest


def delivered(
    phase: Phase, command: CommandFact, *, sent: str, to: str, story: JobStory | None = None
) -> TraceStep:
    """The step of a command: something that Temporal was to be told."""
    done = command.done_at is not None
    return TraceStep(
        phase=phase,
        state=StepState.DONE if done else StepState.WAITING,
        job_id=story.job.id if story else None,
        member=story.job.member if story else None,
        started_at=command.created_at,
        ended_at=command.done_at,
        tries=max(command.attempts, int(done)),
        sent=sent,
        to=to,
        known="delivered" if done else "not delivered yet",
        error="" if done else command.error,
        next_try_at=None if done else command.due_at,
    )


def _accept(story: JobStory) -> TraceStep:
    job = story.job
    return TraceStep(
        phase=Phase.ACCEPT,
        state=StepState.DONE,
        job_id=job.id,
        member=job.member,
        started_at=job.created_at,
        ended_at=job.created_at,
        tries=1,
        sent="job, first event and start command in one transaction",
        to="the database",
        known=f"accepted for `{job.owner}`",
    )


def _start(story: JobStory, history: History) -> Iterator[TraceStep]:
    job = story.job
    sent, to = f"start of workflow `Job`, id `{job.id}`", "Temporal"
    for command in story.commands:
        if command.kind == "start":
            yield delivered(Phase.START, command, sent=sent, to=to, story=story)
            return
    if job.held:
        known = "its group has not started it yet"
        state = StepState.SKIPPED if job.state.terminal else StepState.WAITING
    else:
        known, state = "delivered (the command itself is not kept any more)", StepState.DONE
    yield TraceStep(
        phase=Phase.START,
        state=state,
        job_id=job.id,
        member=job.member,
        started_at=None if job.held else job.created_at,
        sent=sent,
        to=to,
        known=known,
    )


def _looking(story: JobStory, history: History) -> Iterator[TraceStep]:
    """A search for an offer that has led to no lease: going on, or given up."""
    job = story.job
    began = [status for status in story.statuses if status.state == JobState.PLACING]
    if not began or any(lease.created_at >= began[-1].time for lease in story.leases):
        return
    asked = history.of("place")
    going = job.state is JobState.PLACING
    pending = next((asking for asking in asked if asking.outcome == "pending"), None)
    stopped = job.cancel_requested_at is not None
    ended = StepState.SKIPPED if stopped else StepState.FAILED
    yield TraceStep(
        phase=Phase.PLACE,
        state=StepState.RUNNING if going else ended,
        job_id=job.id,
        member=job.member,
        attempt=job.attempt or None,
        started_at=began[-1].time,
        ended_at=None if going else job.cancel_requested_at or job.finished_at,
        tries=sum(asking.tries for asking in asked) or None,
        sent="activity `place`: collect offers",
        to="every healthy provider that the spec allows",
        error=job.message if going or not stopped else "",
        next_try_at=(pending.next_at if pending else history.wakes_at) if going else None,
    )


def _asked(story: JobStory) -> Iterator[TraceStep]:
    """What people asked for meanwhile: a stop, more time, a decision by hand."""
    cancels = [command for command in story.commands if command.kind == "cancel"]
    extends = [command for command in story.commands if command.kind == "extend"]
    for event in story.events:
        if event.type is EventType.JOB_CANCEL_REQUESTED:
            yield _request(story, Phase.STOP, event, cancels, _why(event))
        elif event.type is EventType.JOB_EXTENDED:
            yield _request(story, Phase.EXTEND, event, extends, _longer(event))
        elif event.type is EventType.JOB_RESOLVED:
            yield _resolved(story, event)


def _request(
    story: JobStory, phase: Phase, event: Event, commands: list[CommandFact], known: str
) -> TraceStep:
    signal = "cancel" if phase is Phase.STOP else "extend"
    sent, to = f"signal `{signal}`", f"workflow `{story.job.id}`"
    command = next((c for c in commands if c.created_at == event.time), None)
    if command is not None:
        step = delivered(phase, command, sent=sent, to=to, story=story)
        return step.model_copy(update={"known": f"{step.known}; {known}"})
    return TraceStep(
        phase=phase,
        state=StepState.DONE,
        job_id=story.job.id,
        member=story.job.member,
        started_at=event.time,
        ended_at=event.time,
        sent=sent,
        to=to,
        known=known,
    )


def _why(event: Event) -> str:
    reason = event.data.get("reason") or event.data.get("message") or ""
    return f"asked to stop{f': {reason}' if reason else ''}"


def _longer(event: Event) -> str:
    return f"{event.data.get('by', '')} longer, until {event.data.get('deadline_at', '?')}"


def _resolved(story: JobStory, event: Event) -> TraceStep:
    data = event.data
    amount = f" with {data['amount']}" if data.get("amount") else ""
    return TraceStep(
        phase=Phase.RESOLVE,
        state=StepState.DONE,
        job_id=story.job.id,
        member=story.job.member,
        lease_key=data.get("lease"),
        provider_id=data.get("provider"),
        started_at=event.time,
        ended_at=event.time,
        sent=f"`{data.get('action')}`{amount}",
        to="the pending step",
        known=f"by `{data.get('by')}`: {data.get('reason')}",
    )


def _close(story: JobStory) -> Iterator[TraceStep]:
    job = story.job
    ended = job.state.terminal
    yield TraceStep(
        phase=Phase.CLOSE,
        state=StepState.DONE if ended else StepState.WAITING,
        job_id=job.id,
        member=job.member,
        started_at=job.finished_at,
        ended_at=job.finished_at,
        sent="the terminal state and its event",
        to="the database",
        known=f"`{job.state}`{f' ({job.reason})' if job.reason else ''}" if ended else "",
        error=job.message if job.state in _BAD else "",
    )
