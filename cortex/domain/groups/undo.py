"""When a group, or an array of it, is given up: the rules, each read from what never changes."""

from collections.abc import Mapping
from dataclasses import dataclass

from cortex.domain.groups.rules import array_of
from cortex.domain.groups.snapshot import Member, Snapshot
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState


@dataclass(frozen=True)
class Undo:
    """Why something is ended: the cause for programs, the message for people."""

    cause: Reason
    message: str


def group_undo(group: Snapshot) -> Undo | None:
    """Why the whole group is to be ended; None if it is not."""
    if group.cancel_requested:
        return Undo(Reason.CANCELLED, group.cancel_reason or "the group was cancelled on request")
    # Whom a user, or the group itself, has stopped comes last: mostly there is a cause before it.
    return (
        _uncommitted(group, asked=False)
        or _lost(group)
        or _failed(group)
        or _aborted(group)
        or _uncommitted(group, asked=True)
    )


def array_undos(group: Snapshot) -> Mapping[str, Undo]:
    """The arrays whose own `fail_fast` ends them, by name."""
    undos: dict[str, Undo] = {}
    for member in group.members:
        name = array_of(member.name)
        if name in undos or member.state != JobState.FAILED:
            continue
        if group.rules.array(member.name).fail_fast:
            undos[name] = Undo(
                Reason.GROUP_ABORTED, f"{described(member)}, which ends the others of `{name}`"
            )
    return undos


def described(member: Member) -> str:
    """`train[3]` and how it ended, as the begin of a sentence."""
    if member.state == JobState.CANCELLED:
        return f"`{member.name}` was cancelled"
    if member.exit_code is not None:
        return f"`{member.name}` failed (exit {member.exit_code})"
    return f"`{member.name}` failed" + (f" ({member.reason.value})" if member.reason else "")


def _uncommitted(group: Snapshot, *, asked: bool) -> Undo | None:
    """One of a committed gang never went live, and the policy takes all or none."""
    if not group.rules.atomic or group.rules.commit_failure != "compensate":
        return None
    ended = array_undos(group)
    for member in group.members:
        if member.asked is not asked or group.gangs[member.gang].decision != "committed":
            continue
        if not member.fell_through or array_of(member.name) in ended:
            continue
        how = "was cancelled" if asked else "could not be committed"
        said = f" ({member.message})" if member.state == JobState.FAILED and member.message else ""
        return Undo(
            Reason.GROUP_ABORTED,
            f"`{member.name}` {how} after the others were{said}: all run, or none",
        )
    return None


def _lost(group: Snapshot) -> Undo | None:
    if group.rules.on_lost != "end_all":
        return None
    for member in group.members:
        if member.state == JobState.FAILED and member.reason == Reason.LEASE_LOST:
            message = f"the network lost `{member.name}`, which ends all (`on_lost` is `end_all`)"
            return Undo(Reason.GROUP_ABORTED, message)
    return None


def _failed(group: Snapshot) -> Undo | None:
    for member in group.members:
        if member.state != JobState.FAILED:
            continue
        own = group.rules.array(member.name).fail_fast
        # An array that says no keeps its failures to itself; one that says yes ends itself only,
        # unless the group says yes as well.
        if group.rules.fail_fast and own is not False:
            message = f"{described(member)}, which ends all others (`fail_fast`)"
            return Undo(Reason.GROUP_ABORTED, message)
    return None


def _aborted(group: Snapshot) -> Undo | None:
    """A gang that was not committed counts as failed."""
    if not (group.rules.atomic and group.rules.fail_fast):
        return None
    for gang in group.gangs.values():
        if gang.decision == "aborted":
            return Undo(Reason.GROUP_ABORTED, gang.reason or "not all could be reserved")
    return None
