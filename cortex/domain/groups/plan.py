"""What is to be done about a group now: a pure function of what the database says.

Nothing is remembered between two plans, so a coordinator may die at any point: the next plan is
made of what was written. Every reason to give up is read from rows that never change again (a
member that has ended, a decision, the request to cancel), so no later plan takes it back.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from cortex.domain.groups.end import GroupEnd, end_of
from cortex.domain.groups.rules import array_of
from cortex.domain.groups.snapshot import Decided, Gang, Member, Snapshot
from cortex.domain.groups.states import GROUP_TRANSITIONS, GroupState
from cortex.domain.groups.undo import Undo, array_undos, group_undo
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState
from cortex.domain.units import format_duration

SOON: Final = timedelta(minutes=1)
"""How long a lost nudge can cost while a group is being decided or ended."""
LATER: Final = timedelta(minutes=5)
"""The same while it only runs: looking costs a little each time."""


@dataclass(frozen=True)
class Start:
    """Members to be started. With a deadline they are a gang: committed together or not at all."""

    gang: int
    members: tuple[str, ...]
    deadline_at: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """The commit point of a gang: written once, only where there is none."""

    gang: int
    decided: Decided
    reason: str
    members: tuple[str, ...]
    """With `committed`: those that wait to be told."""


@dataclass(frozen=True)
class Ending:
    """A member that is to be ended, and why."""

    member: str
    undo: Undo


@dataclass(frozen=True)
class Plan:
    decisions: tuple[Decision, ...] = ()
    close: tuple[Ending, ...] = ()
    """Held members, which have no workflow: ended where they stand."""
    cancel: tuple[Ending, ...] = ()
    """Started members: their workflows are told to stop."""
    starts: tuple[Start, ...] = ()
    enter: GroupState | None = None
    message: str = ""
    end: GroupEnd | None = None
    wake_at: datetime | None = None
    """When to look again if nobody calls; None after the end."""

    @property
    def acts(self) -> bool:
        """Whether anything is to be written, after which there may be more to do."""
        return bool(self.decisions or self.close or self.starts or self.end)


def plan(group: Snapshot, now: datetime) -> Plan:
    """What to do now."""
    if group.state.terminal:
        return Plan()
    if all(member.state.terminal for member in group.members):
        return Plan(end=end_of(group))
    return _Planner(group, now).plan()


class _Planner:
    def __init__(self, group: Snapshot, now: datetime) -> None:
        self._group = group
        self._rules = group.rules
        self._now = now
        self._members: dict[int, list[Member]] = {number: [] for number in group.gangs}
        for member in group.members:
            self._members.setdefault(member.gang, []).append(member)
        self._by_id = {member.id: member for member in group.members}

    def plan(self) -> Plan:
        decisions = self._decisions()
        self._gangs = self._after(decisions)
        endings = [
            Ending(member.id, undo)
            for member in self._group.members
            if (undo := self._undo_of(member)) is not None
        ]
        starts = self._starts({ending.member for ending in endings})
        close = tuple(ending for ending in endings if self._by_id[ending.member].held)
        cancel = tuple(ending for ending in endings if self._by_id[ending.member].live)
        enter = self._state(starts, {ending.member for ending in endings})
        moves = enter in GROUP_TRANSITIONS[self._group.state]
        return Plan(
            decisions=decisions,
            close=close,
            cancel=cancel,
            starts=starts,
            enter=enter if moves else None,
            message=self._why() if enter is GroupState.ENDING else "",
            wake_at=self._wake_at(starts, enter),
        )

    @cached_property
    def _completed(self) -> set[str]:
        return {member.id for member in self._group.members if member.state == JobState.COMPLETED}

    @cached_property
    def _whole(self) -> Undo | None:
        return group_undo(self._group)

    @cached_property
    def _arrays(self) -> Mapping[str, Undo]:
        return array_undos(self._group)

    def _decisions(self) -> tuple[Decision, ...]:
        if not self._rules.atomic:
            return ()
        decisions = (self._decide(gang) for gang in self._group.gangs.values())
        return tuple(decision for decision in decisions if decision is not None)

    def _decide(self, gang: Gang) -> Decision | None:
        members = self._members[gang.number]
        if gang.decision is not None or not members:
            return None
        if gang.started_at is None:
            # It can never be whole again; if the whole group is given up, nobody would start it.
            gone = next((member for member in members if not member.waiting), None)
            return self._abort(gang, _fell_out(gone)) if gone is not None else None
        if self._whole is not None:
            return self._abort(gang, self._whole.message)
        gone = next((member for member in members if member.gone), None)
        if gone is not None:
            return self._abort(gang, _fell_out(gone))
        ended = next((name for name in map(_array, members) if name in self._arrays), None)
        if ended is not None:
            return self._abort(gang, self._arrays[ended].message)
        late = [member for member in members if not member.ready]
        if not late:
            ids = tuple(member.id for member in members)
            return Decision(gang.number, "committed", "all are reserved", ids)
        if gang.deadline_at is not None and self._now >= gang.deadline_at:
            return self._abort(gang, self._too_late(gang, late))
        return None

    def _abort(self, gang: Gang, reason: str) -> Decision:
        return Decision(gang.number, "aborted", reason, ())

    def _too_late(self, gang: Gang, late: list[Member]) -> str:
        shown = "; ".join(
            f"`{member.name}` is {member.state.value}"
            + (f" ({member.message})" if member.message else "")
            for member in late[:3]
        )
        more = f"; and {len(late) - 3} more" if len(late) > 3 else ""
        if gang.started_at is None or gang.deadline_at is None:
            return shown + more
        within = format_duration(
            timedelta(seconds=round((gang.deadline_at - gang.started_at).total_seconds()))
        )
        return f"not all could be reserved within {within}: {shown}{more}"

    def _after(self, decisions: tuple[Decision, ...]) -> Mapping[int, Gang]:
        made = {decision.gang: decision for decision in decisions}
        return {
            number: replace(gang, decision=made[number].decided, reason=made[number].reason)
            if number in made
            else gang
            for number, gang in self._group.gangs.items()
        }

    def _undo_of(self, member: Member) -> Undo | None:
        """Why a member that has not ended is to be ended; None if it is not, or is already."""
        if not (member.held or member.live) or member.state.terminal:
            return None
        if member.held and member.state == JobState.CANCELLING:
            return Undo(Reason.CANCELLED, "cancelled on request before its group had started it")
        gang = self._gangs[member.gang]
        undo = self._whole or self._arrays.get(_array(member))
        if undo is None and gang.decision == "aborted":
            undo = Undo(Reason.GROUP_ABORTED, gang.reason)
        if undo is None and member.held:
            undo = self._unmet_for_good(gang)
        return undo

    def _unmet_for_good(self, gang: Gang) -> Undo | None:
        for needed in sorted(gang.needs):
            member = self._by_id.get(needed)
            if member is None:
                return Undo(Reason.DEPENDENCY_FAILED, "a job that it needs is not there any more")
            if member.state.terminal and member.state != JobState.COMPLETED:
                message = f"it needs `{member.name}`, which has ended as {member.state.value}"
                return Undo(Reason.DEPENDENCY_FAILED, message)
        return None

    def _starts(self, ending: set[str]) -> tuple[Start, ...]:
        free = [
            gang
            for _, gang in sorted(self._gangs.items())
            if gang.decision is None
            and gang.needs <= self._completed
            and any(
                member.waiting and member.id not in ending for member in self._members[gang.number]
            )
        ]
        return self._gang_starts(free, ending) if self._rules.atomic else self._single(free, ending)

    def _gang_starts(self, free: list[Gang], ending: set[str]) -> tuple[Start, ...]:
        return tuple(
            Start(
                gang.number,
                tuple(member.id for member in self._members[gang.number]),
                self._now + self._rules.prepare_timeout,
            )
            for gang in free
            if gang.started_at is None
            and all(
                member.waiting and member.id not in ending for member in self._members[gang.number]
            )
        )

    def _single(self, free: list[Gang], ending: set[str]) -> tuple[Start, ...]:
        """As many as the limits allow, in the order of the spec."""
        busy = Counter(
            _array(each)
            for each in self._group.members
            if not each.held and not each.state.terminal
        )
        total = busy.total()
        chosen: dict[int, list[str]] = {}
        waiting = (
            each
            for gang in free
            for each in self._members[gang.number]
            if each.waiting and each.id not in ending
        )
        for each in sorted(waiting, key=lambda member: member.id):
            if self._rules.concurrency is not None and total >= self._rules.concurrency:
                break
            limit = self._rules.array(each.name).concurrency
            if limit is not None and busy[_array(each)] >= limit:
                continue
            total += 1
            busy[_array(each)] += 1
            chosen.setdefault(each.gang, []).append(each.id)
        return tuple(Start(number, tuple(ids)) for number, ids in sorted(chosen.items()))

    def _state(self, starts: tuple[Start, ...], ending: set[str]) -> GroupState:
        left = [member for member in self._group.members if not member.state.terminal]
        given_up = [
            member for member in left if member.id in ending or member.state == JobState.CANCELLING
        ]
        if self._whole is not None or len(given_up) == len(left):
            return GroupState.ENDING
        begun = any(not member.held for member in self._group.members) or bool(starts)
        if not self._rules.atomic:
            return GroupState.RUNNING if begun else GroupState.PENDING
        if any(gang.decision == "committed" for gang in self._gangs.values()):
            return GroupState.RUNNING
        return GroupState.PREPARING if begun else GroupState.PENDING

    def _why(self) -> str:
        if self._whole is not None:
            return self._whole.message
        reasons = [gang.reason for gang in self._gangs.values() if gang.decision == "aborted"]
        return next((reason for reason in reasons if reason), "all that is left of it is ending")

    def _wake_at(self, starts: tuple[Start, ...], state: GroupState) -> datetime:
        undecided = [
            gang.deadline_at
            for gang in self._gangs.values()
            if gang.decision is None and gang.deadline_at is not None
        ]
        undecided += [start.deadline_at for start in starts if start.deadline_at is not None]
        soon = bool(undecided) or state is not GroupState.RUNNING
        at_last = self._now + (SOON if soon else LATER)
        # One that is over is decided by now, or its decision is on its way.
        return min([at_last, *(at for at in undecided if at > self._now)])


def _array(member: Member) -> str:
    return array_of(member.name)


def _fell_out(member: Member) -> str:
    if member.state in (JobState.CANCELLING, JobState.CANCELLED):
        return f"`{member.name}` was cancelled before all were committed"
    if member.state == JobState.SETTLING:
        return f"`{member.name}` could not be reserved"
    said = f": {member.message}" if member.message else ""
    return f"`{member.name}` could not be reserved{said}"
