"""How a group has ended: its state, a reason for programs and a sentence for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from cortex.domain.groups.snapshot import Member, Snapshot
from cortex.domain.groups.states import GroupState
from cortex.domain.groups.undo import group_undo
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState

_NAMED = 5


@dataclass(frozen=True)
class GroupEnd:
    state: GroupState
    reason: Reason | None
    message: str


def end_of(group: Snapshot) -> GroupEnd:
    """The end of a group whose members have all ended."""
    members = group.members
    completed = [member for member in members if member.state == JobState.COMPLETED]
    failed = [member for member in members if member.state == JobState.FAILED]
    cancelled = [member for member in members if member.state == JobState.CANCELLED]
    parts = [f"{len(completed)} of {len(members)} completed"]
    if failed:
        parts.append(f"{len(failed)} failed: {_names(failed)}")
    if cancelled:
        parts.append(f"{len(cancelled)} cancelled")
    message = "; ".join(parts)
    if len(completed) == len(members):
        return GroupEnd(GroupState.COMPLETED, None, message)
    why = _why(group, failed)
    if why:
        message += f" ({why})"
    if group.cancel_requested and cancelled:
        return GroupEnd(GroupState.CANCELLED, Reason.CANCELLED, message)
    if failed:
        return GroupEnd(GroupState.FAILED, failed[0].reason, message)
    if any(member.reason == Reason.GROUP_ABORTED for member in cancelled):
        return GroupEnd(GroupState.FAILED, Reason.GROUP_ABORTED, message)
    return GroupEnd(GroupState.CANCELLED, Reason.CANCELLED, message)


def _why(group: Snapshot, failed: Sequence[Member]) -> str:
    undo = group_undo(group)
    if undo is not None:
        return undo.message
    aborted = (gang.reason for gang in group.gangs.values() if gang.decision == "aborted")
    said = next((reason for reason in aborted if reason), "")
    return said or (failed[0].message if len(failed) == 1 else "")


def _names(failed: Sequence[Member]) -> str:
    shown = ", ".join(_name(member) for member in failed[:_NAMED])
    more = len(failed) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _name(member: Member) -> str:
    if member.exit_code is not None:
        return f"{member.name} (exit {member.exit_code})"
    return f"{member.name} ({member.reason.value})" if member.reason else member.name
