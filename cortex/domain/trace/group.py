"""The trace of a group: its gangs and their decisions, its members and their steps. Pure."""

from collections.abc import Iterator, Mapping

from cortex.domain.states import LeaseState
from cortex.domain.trace.job import delivered, in_order, job_steps
from cortex.domain.trace.model import (
    GangFact,
    GroupStory,
    History,
    JobStory,
    Participant,
    Phase,
    StepState,
    TraceStep,
)


def group_steps(group: GroupStory, histories: Mapping[str, History]) -> list[TraceStep]:
    """All steps of a group and its members; `histories` by job id, as far as they were read."""
    unread = History("not_asked")
    steps = [*_own(group)]
    for member in group.members:
        steps += job_steps(member, histories.get(member.job.id, unread))
    return in_order(steps)


def participants(group: GroupStory) -> list[Participant]:
    """Who takes part, and how far each one is."""
    return [_participant(member) for member in group.members]


def _participant(member: JobStory) -> Participant:
    job = member.job
    lease = member.leases[-1] if member.leases else None
    return Participant(
        job_id=job.id,
        member=job.member or job.name,
        gang=job.gang,
        state=job.state.value,
        reason=job.reason.value if job.reason else None,
        message=job.message,
        provider_id=job.provider_id,
        lease_key=lease.key if lease else None,
        lease_state=lease.state.value if lease else None,
        cost=str(job.cost),
    )


def _own(group: GroupStory) -> Iterator[TraceStep]:
    yield TraceStep(
        phase=Phase.ACCEPT,
        state=StepState.DONE,
        started_at=group.created_at,
        ended_at=group.created_at,
        tries=1,
        sent="group, members, needs and start command in one transaction",
        to="the database",
        known=f"accepted for `{group.owner}`",
    )
    for command in group.commands:
        if command.kind == "start_group":
            sent = f"start of workflow `JobGroup`, id `{group.id}`"
            yield delivered(Phase.START, command, sent=sent, to="Temporal")
    for gang in group.gangs:
        yield _prepare(group, gang)
        yield _verdict(gang)
    if group.cancel_requested_at is not None:
        yield TraceStep(
            phase=Phase.STOP,
            state=StepState.DONE,
            started_at=group.cancel_requested_at,
            ended_at=group.cancel_requested_at,
            sent="cancel of every member",
            to="the group's members",
            known=f"asked to stop{f': {group.cancel_reason}' if group.cancel_reason else ''}",
        )
    ended = group.finished_at is not None
    yield TraceStep(
        phase=Phase.CLOSE,
        state=StepState.DONE if ended else StepState.WAITING,
        started_at=group.finished_at,
        ended_at=group.finished_at,
        sent="the terminal state and its event",
        to="the database",
        known=": ".join(filter(None, (f"`{group.state}`", group.message))) if ended else "",
    )


def _prepare(group: GroupStory, gang: GangFact) -> TraceStep:
    """Phase one of a gang: all its members at once."""
    leases = [member.leases for member in group.members if member.job.gang == gang.gang]
    ready = sum(
        bool(history)
        and history[-1].state not in (LeaseState.INTENDED, LeaseState.RELEASING)
        and history[-1].reserved_at is not None
        for history in leases
    )
    state = StepState.DONE if gang.decision else StepState.RUNNING
    if gang.decision == "aborted":
        state = StepState.COMPENSATED
    if gang.started_at is None:
        state = StepState.SKIPPED if group.finished_at else StepState.WAITING
    until = f", until {gang.deadline_at:%H:%M:%S} UTC" if gang.deadline_at else ""
    return TraceStep(
        phase=Phase.RESERVE,
        part=f"gang {gang.gang}",
        state=state,
        started_at=gang.started_at,
        ended_at=gang.decided_at,
        sent=f"start of {len(leases)} members{until}",
        to="the members' workflows",
        known=f"{ready} of {len(leases)} hold a reservation" if gang.decision is None else "",
    )


def _verdict(gang: GangFact) -> TraceStep:
    decided = gang.decision is not None
    return TraceStep(
        phase=Phase.VERDICT,
        part=f"gang {gang.gang}",
        state=StepState.DONE if decided else StepState.WAITING,
        started_at=gang.decided_at,
        ended_at=gang.decided_at,
        sent="the decision: the commit point",
        to="the database",
        known=": ".join(filter(None, (gang.decision or "not decided yet", gang.reason))),
        compensates=(Phase.RESERVE,) if gang.decision == "aborted" else (),
    )
