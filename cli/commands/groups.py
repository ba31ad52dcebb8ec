"""`group`: run, validate, list, show, cancel, events, logs."""

import asyncio
from itertools import islice
from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput, ExitCode
from cli.fields import Fields, names_of, show_fields
from cli.find import find_group
from cli.follow import Followed, follow, unpacked
from cli.group_logs import follow_logs, print_logs
from cli.group_view import show_end, show_head, show_list, show_members, show_validation
from cli.groupfile import load_group, placed
from cli.groups import show_group
from cli.local import dir_option, ensure_server
from cli.options import parse_labels
from cli.specfile import Document
from cli.state import State, state_of
from cli.trace_view import show_trace
from cortex.client import ApiError, AsyncCortex, GroupFilter, GroupSpec, MemberFilter
from cortex.domain.groups.states import GroupState
from cortex.domain.states import JobState
from cortex.schemas.groups import GroupSummary, GroupView

app = typer.Typer()
group_app = typer.Typer(no_args_is_help=True, help="Run several jobs as one.")
app.add_typer(group_app, name="group")

File = Annotated[str, typer.Argument(help="A YAML or JSON file; `-`: standard input.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Group id, its unique name, or @last.")]
OnlyMember = Annotated[
    str | None, typer.Option("--member", "-m", help="A member (`train[3]`), or an array (`train`).")
]
OnlyState = Annotated[
    list[str] | None, typer.Option("--state", "-s", help="Members in this state, such as failed.")
]
_FOLLOWED_AT_ONCE = 50


@group_app.command("run")
def run(
    ctx: typer.Context,
    file: File,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print its id, and do not follow it.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Also a line for each change of a member.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to follow it; then it goes on alone.", min=0)
    ] = None,
) -> None:
    """Submit a group and follow it: one view of all members, failures as they come, the bill.

    Ends with 0 only if the group completed. Ctrl-C asks whether to cancel the group or to leave it.
    """
    state = state_of(ctx)
    document, spec, _ = load_group(file)
    render.notes(state, document.notes(GroupSpec))
    raise typer.Exit(asyncio.run(_run(state, document, spec, detach, watch, timeout)))


async def _run(
    state: State,
    document: Document,
    spec: GroupSpec,
    detach: bool,
    watch: bool,
    timeout: float | None,
) -> int:
    await ensure_server(state)
    async with state.aclient() as cortex:
        try:
            group = await cortex.submit_group(spec)
        except ApiError as error:
            raise placed(error, document) from None
        if detach:
            render.print_json(group) if state.json else print(group.id)
            return ExitCode.OK
        if state.json:
            print(f'{{"submitted":{group.model_dump_json()}}}', flush=True)
        else:
            text = f"{group.id}  {group.name}  {group.total} member(s)"
            render.say(state, text, style="bold")
        try:
            return await _followed(state, cortex, group, watch, timeout)
        except* Exception as errors:
            raise unpacked(errors) from None


async def _followed(
    state: State, cortex: AsyncCortex, group: GroupView, watch: bool, timeout: float | None
) -> int:
    here = f"cortex {dir_option(state)}group"
    what = Followed(
        noun="group",
        id=group.id,
        cancel=lambda: cortex.cancel_group(group.id, reason="Ctrl-C in `cortex group run`"),
        hints=(
            f"look:    {here} show {group.id}",
            f"follow:  {here} events -f {group.id}",
            f"cancel:  {here} cancel {group.id}",
        ),
    )
    shown = asyncio.ensure_future(show_group(state, cortex, group, every_change=watch))
    code = await follow(state, shown, what, timeout=timeout)
    if code is not None:
        return code
    ended = shown.result()
    show_end(state, ended)
    return ExitCode.OK if ended.state is GroupState.COMPLETED else ExitCode.FAILED


@group_app.command("validate")
def validate(
    ctx: typer.Context,
    file: File,
    local: Annotated[
        bool, typer.Option("--local", help="Check the form only, without a server.")
    ] = False,
) -> None:
    """Check a group file: the members it makes, who needs whom, what they may cost."""
    state = state_of(ctx)
    document, spec, members = load_group(file)
    render.notes(state, document.notes(GroupSpec))
    if local:
        if state.json:
            print(
                render.to_json([{"member": member.name, "gang": member.gang} for member in members])
            )
        else:
            print(f"`{spec.name}` is valid: {len(members)} member(s)")
        return
    with state.client() as cortex:
        try:
            answer = cortex.validate_group(spec)
        except ApiError as error:
            raise placed(error, document) from None
    show_validation(state, answer)


@group_app.command("list")
def list_groups(
    ctx: typer.Context,
    state_: Annotated[str | None, typer.Option("--state", "-s", help="Such as running.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who submitted it.")] = None,
    name: Annotated[str | None, typer.Option(help="The group's name.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="KEY=VALUE.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    fields: Fields = None,
) -> None:
    """List groups, newest first."""
    state = state_of(ctx)
    names = None if fields is None else names_of(fields, GroupSummary.model_fields)
    which = GroupFilter(
        state=_known(state_, GroupState),
        project=state.project,
        owner=owner,
        name=name,
        labels=parse_labels(label or ()),
    )
    with state.client() as cortex:
        if names is not None:
            entries = cortex.iter_group_fields(names, which, page_size=min(limit, 100))
            show_fields(state, names, islice(entries, limit))
            return
        groups = list(islice(cortex.iter_groups(which, page_size=min(limit, 100)), limit))
    if state.json:
        render.print_json(*groups)
    elif not groups:
        render.say(state, "no groups match")
    else:
        show_list(state, groups)


@group_app.command("show")
def show(
    ctx: typer.Context,
    group_id: Id,
    state_: OnlyState = None,
    member: OnlyMember = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="Members at most; 0: none.")
    ] = 100,
    trace: Annotated[
        bool, typer.Option("--trace", help="Every step of its protocol; see `cortex trace`.")
    ] = False,
) -> None:
    """Show a group: state, counts, cost, what was decided, and its members."""
    state = state_of(ctx)
    which = MemberFilter(_states(state_), member)
    with state.client() as cortex:
        found_id = find_group(cortex, group_id)
        if trace:
            show_trace(state, cortex.trace(found_id), full=False)
            return
        view = cortex.group(found_id, which, limit=min(limit, 1000))
        if state.json:
            render.print_json(view)
            return
        show_head(state, view)
        members = list(islice(cortex.iter_members(found_id, which), limit)) if limit else []
    if members:
        show_members(state, members)
    elif limit:
        render.say(state, "no members match")
    if limit and len(members) == limit:
        render.say(state, f"the first {limit}; --limit shows more", style="dim")


@group_app.command("cancel")
def cancel(
    ctx: typer.Context,
    group_id: Id,
    reason: Annotated[str, typer.Option(help="Why; goes into its history.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
) -> None:
    """Cancel a group: none of it starts any more, what runs is cancelled."""
    state = state_of(ctx)
    with state.client() as cortex:
        found_id = find_group(cortex, group_id)
        view = cortex.cancel_group(found_id, reason=reason)
        if wait:
            view = cortex.wait_group(found_id)
    if state.json:
        render.print_json(view)
    elif wait:
        print(f"{view.id}  {view.state.value}")
    else:
        print(f"{view.id}  asked to cancel; it is {view.state.value}")


@group_app.command("events")
def events(
    ctx: typer.Context,
    group_id: Id,
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Until it ends.")] = False,
) -> None:
    """Print the events of a group and of all its members (CloudEvents with --json)."""
    state = state_of(ctx)
    with state.client() as cortex:
        found_id = find_group(cortex, group_id)
        for event in cortex.group_events(found_id, follow=follow_):
            if state.json:
                render.print_json(event)
            else:
                kind = event.type.removeprefix("cortex.")
                text = "  ".join(f"{key}={value}" for key, value in event.data.items() if value)
                line = f"{render.clock(event.time)}  {kind:<20}  {event.subject}  {text}"
                print(render.printable(line), flush=True)


@group_app.command("logs")
def logs(
    ctx: typer.Context,
    group_id: Id,
    member: OnlyMember = None,
    state_: OnlyState = None,
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Until they end.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=0, help="Only the last lines of each.")
    ] = None,
) -> None:
    """Print the output of members; with more than one, each line begins with its member's name."""
    state = state_of(ctx)
    with state.client() as cortex:
        found_id = find_group(cortex, group_id)
        members = list(cortex.iter_members(found_id, MemberFilter(_states(state_), member)))
        if not members:
            raise BadInput(f"group `{found_id}` has no such member; `cortex group show` lists them")
        named = len(members) > 1
        if not follow_:
            print_logs(state, cortex, members, tail, named=named)
            return
    if len(members) > _FOLLOWED_AT_ONCE:
        raise BadInput(
            f"{len(members)} members: at most {_FOLLOWED_AT_ONCE} can be followed at once",
            details=["name an array or a member with --member"],
        )
    asyncio.run(follow_logs(state, members, tail, named=named))


def _known(text: str | None, kinds: type[GroupState] | type[JobState]) -> str | None:
    if text is None:
        return None
    if text.lower() not in {kind.value for kind in kinds}:
        names = ", ".join(kind.value for kind in kinds)
        raise BadInput(f"--state `{text}`: there is no such state; it is one of {names}")
    return text.lower()


def _states(texts: list[str] | None) -> tuple[str, ...]:
    return tuple(state for text in texts or () if (state := _known(text, JobState)))
