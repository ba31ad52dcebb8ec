"""`trace`, `stuck`, `resolve`."""

from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput
from cli.find import find_id
from cli.local import dir_option
from cli.state import state_of
from cli.trace_view import show_trace
from cortex.domain.trace.resolution import ResolveAction
from cortex.schemas.trace import StuckView

app = typer.Typer()
_COLUMNS = ("ID", "NAME", "STATE", "FOR", "PROVIDER", "WAITS TO", "LAST ERROR", "YOU MAY")


@app.command("trace")
def trace(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a job or group; a job's name, or @last.")
    ],
    full: Annotated[
        bool, typer.Option("--full", help="Also what was sent in each step, and to whom.")
    ] = False,
) -> None:
    """Show every step of a job's or group's protocol, and what is known of it."""
    state = state_of(ctx)
    with state.client() as cortex:
        found_id = subject if subject.startswith("grp_") else find_id(cortex, subject)
        show_trace(state, cortex.trace(found_id), full=full)


@app.command("stuck")
def stuck(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 100,
) -> None:
    """List what stays where it is for longer than it should, and what you may do about it."""
    state = state_of(ctx)
    with state.client() as cortex:
        page = cortex.stuck(limit)
    if state.json:
        render.print_json(page)
        return
    if not page.items:
        render.say(state, "nothing is stuck")
        return
    render.table(state, _COLUMNS, map(_row, page.items), spare=(4, 1))
    if page.total > len(page.items):
        render.say(state, f"{len(page.items)} of {page.total}; --limit shows more", style="dim")
    first, here = page.items[0].id, f"cortex {dir_option(state)}"
    render.say(state, f"`{here}trace {first}` shows how it came to that", style="dim")
    render.say(state, f"`{here}resolve {first} --help` says how an admin ends it", style="dim")


def _row(subject: StuckView) -> tuple[str, ...]:
    return (
        subject.id,
        subject.name,
        subject.state,
        render.age(subject.since),
        subject.provider_id or "-",
        subject.step,
        subject.error,
        ", ".join(subject.may),
    )


@app.command("resolve")
def resolve(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(metavar="ID", help="Job id, its unique name, or @last.")],
    reason: Annotated[str, typer.Option(help="Why: kept in audit log, ledger and events.")],
    retry: Annotated[bool, typer.Option("--retry", help="Try the pending step now.")] = False,
    force_release: Annotated[
        bool,
        typer.Option("--force-release", help="Wait for the network no longer; book what is known."),
    ] = False,
    settle: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="The same, and book this: `1.20 USD`.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also where nothing is stuck: it is cancelled first. Also a sum that is too high.",
        ),
    ] = False,
) -> None:
    """End by hand what Cortex would go on trying. Admins only."""
    state = state_of(ctx)
    if retry + force_release + (settle is not None) != 1:
        raise BadInput("give one of --retry, --force-release and --settle AMOUNT")
    action = ResolveAction.SETTLE
    if settle is None:
        action = ResolveAction.RETRY if retry else ResolveAction.FORCE_RELEASE
    with state.client() as cortex:
        job_id = find_id(cortex, job)
        view = cortex.resolve(job_id, action, reason=reason, amount=settle, force=force)
    if state.json:
        render.print_json(view)
        return
    print(f"{view.job_id}  {view.action}: {view.done}", flush=True)
    if view.note:
        render.say(state, view.note)
