"""How groups look: lists, one group with its members, what a group file makes."""

from collections.abc import Sequence

from cli import render
from cli.groups import counted
from cli.local import dir_option
from cli.state import State
from cortex.domain.groups.states import GroupState
from cortex.domain.states import JobState
from cortex.schemas.groups import GroupSummary, GroupValidation, GroupView, MemberView

_COLUMNS = ("ID", "NAME", "STATE", "MEMBERS", "ENDED", "FAILED", "COST", "AGE")
_MEMBERS = ("MEMBER", "STATE", "PROVIDER", "TRY", "EXIT", "COST", "JOB", "NEEDS", "MESSAGE")
_MEMBERS_SPARE = (7, 5, 3, 2)
_NAMES = 3


def show_list(state: State, groups: Sequence[GroupSummary]) -> None:
    """Groups as a table."""
    render.table(state, _COLUMNS, map(_row, groups), right=(3, 4, 5, 6, 7), spare=(1, 6, 4))


def show_members(state: State, members: Sequence[MemberView]) -> None:
    """Members as a table."""
    render.heading(state, "Members")
    rows = [_member_row(member) for member in members]
    render.table(state, _MEMBERS, rows, right=(3, 4, 5), spare=_MEMBERS_SPARE)


def show_head(state: State, view: GroupView) -> None:
    """All that concerns the group as a whole."""
    pairs = [
        ("id", view.id),
        ("name", view.name),
        ("owner", view.owner),
        ("state", view.state.value),
        ("reason", view.reason.value if view.reason else ""),
        ("message", view.message),
        ("members", f"{view.total}: {counted(view.counts)}"),
        ("waiting", str(view.waiting or "")),
        ("policy", str(view.spec.get("policy", "all_or_nothing"))),
        ("labels", "  ".join(f"{key}={value}" for key, value in view.labels.items())),
        ("cost", str(view.cost)),
        ("created", render.clock(view.created_at)),
        ("finished", render.clock(view.finished_at)),
        ("workflow", view.temporal_url or ""),
    ]
    render.fields(state, pairs)
    alone = view.spec.get("policy") == "best_effort"
    shown = [gang for gang in view.gangs if gang.started_at or gang.decision]
    if shown:
        render.heading(state, "Gangs")
        rows = [
            (
                str(gang.gang),
                str(gang.members),
                gang.decision or ("each alone" if alone else "open"),
                render.clock(gang.started_at),
                render.clock(gang.decided_at),
                gang.reason,
            )
            for gang in shown
        ]
        columns = ("GANG", "MEMBERS", "DECISION", "STARTED", "DECIDED", "WHY")
        render.table(state, columns, rows, right=(0, 1))


def show_end(state: State, group: GroupView) -> None:
    """The last lines about a group: how it ended, what it cost, where to look."""
    if state.json:
        print(f'{{"group":{group.model_dump_json()}}}', flush=True)
        return
    style = render.STYLES.get(group.state.value, "")
    parts = [group.state.value, counted(group.counts), f"cost {group.cost}"]
    if group.finished_at is not None:
        parts.append(f"took {render.span(group.finished_at - group.created_at)}")
    render.say(state, " · ".join(parts), style=style)
    here = f"cortex {dir_option(state)}group"
    if group.state is not GroupState.COMPLETED:
        if group.message:
            render.say(state, f"  {render.printable(group.message)}")
        if group.counts.get(JobState.FAILED):
            render.say(state, f"  failed:   {here} show {group.id} --state failed")
    render.say(state, f"  members:  {here} show {group.id}")
    if group.temporal_url:
        render.say(state, f"  workflow: {group.temporal_url}")


def show_validation(state: State, answer: GroupValidation) -> None:
    """What a group file makes, and what that may cost."""
    if state.json:
        render.print_json(answer)
        return
    print(
        f"`{answer.name}` is valid: {answer.total} member(s) in {answer.gangs} gang(s), "
        f"{answer.policy}"
    )
    rows = [
        (
            str(member.gang),
            member.member,
            _names(member.needs),
            member.cheapest.provider_id if member.cheapest else "-",
            str(member.cheapest.most) if member.cheapest else "-",
        )
        for member in answer.members
    ]
    render.table(
        state, ("GANG", "MEMBER", "NEEDS", "CHEAPEST", "AT MOST"), rows, right=(0, 4), spare=(2,)
    )
    if answer.most:
        print(f"at most {' + '.join(str(amount) for amount in answer.most)} where it is cheapest")


def _row(group: GroupSummary) -> tuple[str, ...]:
    ended = sum(count for state, count in group.counts.items() if state.terminal)
    return (
        group.id,
        group.name,
        group.state.value,
        str(group.total),
        str(ended),
        str(group.counts.get(JobState.FAILED, 0)),
        str(group.cost),
        render.age(group.created_at),
    )


def _member_row(member: MemberView) -> tuple[str, ...]:
    return (
        member.member,
        "waiting" if member.waiting else member.state.value,
        member.provider_id or "-",
        str(member.attempt or ""),
        "" if member.exit_code is None else str(member.exit_code),
        str(member.cost),
        member.id,
        _names(member.needs),
        member.message,
    )


def _names(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
