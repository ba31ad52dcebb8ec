"""A trace as a timeline: when, what, how it went, and what came of it."""

from datetime import datetime, timedelta

from cli import render
from cli.state import State
from cortex.domain.trace.model import Participant, StepState, Trace, TraceStep

_COLUMNS = ("AT", "STEP", "STATE", "TRIES", "TOOK", "WHERE", "WHAT IS KNOWN")
_RIGHT = (0, 3, 4)
_SPARE = (3, 4)
_MEMBERS = ("MEMBER", "GANG", "STATE", "LEASE", "PROVIDER", "COST", "MESSAGE")
_GOING = (StepState.RUNNING, StepState.WAITING)


def show_trace(state: State, trace: Trace, *, full: bool) -> None:
    """Print a trace; with `full` also what was sent and to whom."""
    if state.json:
        render.print_json(trace)
        return
    render.fields(
        state,
        [
            (trace.kind, trace.id),
            ("name", trace.name),
            ("owner", trace.owner),
            (
                "state",
                " ".join(filter(None, (trace.state, f"({trace.reason})" if trace.reason else ""))),
            ),
            ("message", trace.message),
            ("accepted", render.clock(trace.created_at)),
            ("ended", render.clock(trace.finished_at)),
        ],
    )
    if trace.participants:
        render.heading(state, "Participants")
        render.table(
            state,
            _MEMBERS,
            [_member(participant) for participant in trace.participants],
            right=(1, 5),
        )
    render.heading(state, "Steps")
    several = trace.kind == "group" or len({step.lease_key for step in trace.steps}) > 2
    rows = [_row(trace, step, several=several) for step in trace.steps]
    render.table(state, _COLUMNS, rows, right=_RIGHT, spare=_SPARE)
    if full:
        render.heading(state, "Sent")
        sent = [(_name(step), step.lease_key or "-", step.sent, step.to) for step in trace.steps]
        render.table(state, ("STEP", "LEASE", "WHAT", "TO"), sent)
    for note in trace.notes:
        render.say(state, note, style="dim")


def _row(trace: Trace, step: TraceStep, *, several: bool) -> tuple[str, ...]:
    return (
        since(trace.created_at, step.started_at),
        _name(step),
        step.state.value,
        "" if step.tries is None else str(step.tries),
        _took(step),
        _where(step, several=several),
        _known(step),
    )


def since(start: datetime, time: datetime | None) -> str:
    """How long after the start: `+0.25s`, `+12.0s`, `+4m10s`; `-` where it has not begun."""
    if time is None:
        return "-"
    seconds = max((time - start).total_seconds(), 0.0)
    if seconds < 60:
        return f"+{seconds:.2f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"+{hours}h{minutes:02}m{rest:02}s" if hours else f"+{minutes}m{rest:02}s"


def _name(step: TraceStep) -> str:
    return f"{step.phase}: {step.part}" if step.part else step.phase.value


def _took(step: TraceStep) -> str:
    if step.started_at is None:
        return ""
    if step.ended_at is None:
        return f"{render.age(step.started_at)}…" if step.state in _GOING else ""
    # The clocks of database and Temporal differ by a little: nothing takes less than no time.
    return render.span(max(step.ended_at - step.started_at, timedelta(0)))


def _where(step: TraceStep, *, several: bool) -> str:
    if step.provider_id is None:
        return step.member or ""
    if not several:
        return step.provider_id
    who = step.member or (f"try {step.attempt}" if step.attempt else "")
    return f"{step.provider_id} ({who})" if who else step.provider_id


def _known(step: TraceStep) -> str:
    parts = [step.known, step.error]
    if step.next_try_at is not None:
        parts.append(f"next try at {render.clock(step.next_try_at)}")
    if step.compensates:
        parts.append(f"undoes {', '.join(step.compensates)}")
    return "; ".join(filter(None, parts))


def _member(participant: Participant) -> tuple[str, ...]:
    return (
        participant.member,
        "" if participant.gang is None else str(participant.gang),
        participant.state,
        participant.lease_state or "-",
        participant.provider_id or "-",
        participant.cost,
        participant.message,
    )
