"""The coordinator of the model: it plans with `cortex.domain.groups.plan.plan` itself.

A round reads a snapshot and carries the plan out in one transaction that holds the group's lock but
not those of its members: they may change in between, so each write has its guard here too. A
coordinator that dies in between has written nothing, and is as good as one that has not begun.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cortex.domain.groups.plan import Plan, plan
from cortex.domain.groups.rules import GroupRules
from cortex.domain.groups.snapshot import Decided, Gang, Member, Snapshot
from cortex.domain.groups.states import group_sources
from cortex.domain.jobs import Reason
from cortex.domain.states import CANCELLABLE_JOB_STATES, JobState, LeaseState
from tests.faults.model.state import Group, ModelMember, Mutation, Setup

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""Times of a group are in the past or to come: which, says `GangRow.clock`."""
_PAST, _TO_COME = NOW - timedelta(minutes=1), NOW + timedelta(minutes=4)


class Shown(NamedTuple):
    """What a member's rows show to the planner."""

    gang: int
    job: JobState
    held: bool
    ready: bool
    committed: bool
    asked: bool
    reason: Reason | None


class Seen(NamedTuple):
    """What a round has read."""

    group: Group
    members: tuple[Shown, ...]


def shown(m: ModelMember) -> Shown:
    reserved = bool(m.leases) and m.lease.state is LeaseState.RESERVED
    return Shown(
        m.gang,
        m.job,
        m.held,
        ready=m.job is JobState.DEPLOYING and reserved,
        committed=any(row.committed for row in m.leases),
        asked=m.asked,
        reason=m.reason,
    )


def planned(seen: Seen, setup: Setup) -> Plan:
    """What the real planner says."""
    rules = GroupRules.of(
        {"policy": "all_or_nothing", "commit_failure": setup.commit_failure, "jobs": []}
    )
    rows = tuple(
        Member(
            id=f"job{number}",
            name=f"m{number}",
            gang=member.gang,
            state=member.job,
            held=member.held,
            ready=member.ready,
            committed=member.committed,
            asked=member.asked,
            reason=member.reason,
        )
        for number, member in enumerate(seen.members)
    )
    gangs = {
        number: Gang(
            number,
            needs=frozenset(row.id for row in rows if row.gang == number - 1),
            decision=row.decision,
            started_at=_PAST if row.started else None,
            deadline_at=(_PAST if row.clock else _TO_COME) if row.started else None,
        )
        for number, row in enumerate(seen.group.gangs)
    }
    snapshot = Snapshot(
        id="group",
        state=seen.group.state,
        rules=rules,
        members=rows,
        gangs=gangs,
        cancel_requested=seen.group.cancel,
    )
    return plan(snapshot, NOW)


def carried_out(
    made: Plan, group: Group, members: tuple[ModelMember, ...], setup: Setup
) -> tuple[Group, tuple[ModelMember, ...]]:
    """The rows after the plan, written against the rows as they are by now."""
    rows = list(members)
    for decision in made.decisions:
        row = group.gangs[decision.gang]
        mine = [m for m in rows if m.gang == decision.gang]
        whole = all(shown(m).ready for m in mine)
        if row.decision is not None or (decision.decided == "committed" and not whole):
            return group, tuple(rows)  # somebody else decided, or a member changed: look again
        group = _with_gang(group, decision.gang, decision=decision.decided)
    if setup.mutation is not Mutation.STUCK_HELD:
        for ending in made.close:
            number = _number(ending.member)
            m = rows[number]
            if m.held and m.job in (JobState.PENDING, JobState.CANCELLING):
                cause = ending.undo.cause
                rows[number] = m._replace(job=JobState.CANCELLED, reason=cause, asked=True)
    for ending in made.cancel:
        number = _number(ending.member)
        m = rows[number]
        if not m.held and m.job in CANCELLABLE_JOB_STATES:
            told = m.told or ending.undo.cause
            rows[number] = m._replace(job=JobState.CANCELLING, asked=True, told=told)
    for start in made.starts:
        group = _with_gang(group, start.gang, started=True)
        for name in start.members:
            m = rows[_number(name)]
            if m.held and m.job is JobState.PENDING:
                rows[_number(name)] = m._replace(held=False, start=True)
    state = made.end.state if made.end is not None else made.enter
    if state is not None and group.state in group_sources(state):
        group = group._replace(state=state)
    return group, tuple(rows)


def with_decision(group: Group, gang: int, decision: Decided, setup: Setup) -> Group:
    """A member presumes an abort: only where nothing is decided."""
    flips = setup.mutation is Mutation.ABORT_AFTER_COMMIT
    if group.gangs[gang].decision is not None and not flips:
        return group
    return _with_gang(group, gang, decision=decision)


def ticked(group: Group, gang: int) -> Group | None:
    """Time goes on for a gang that is not decided."""
    row = group.gangs[gang]
    if not row.started or row.decision is not None or row.clock == 2:
        return None
    return _with_gang(group, gang, clock=row.clock + 1)


def _with_gang(group: Group, gang: int, **changes: Any) -> Group:
    rows = list(group.gangs)
    rows[gang] = rows[gang]._replace(**changes)
    return group._replace(gangs=tuple(rows))


def _number(name: str) -> int:
    return int(name.removeprefix("job"))
