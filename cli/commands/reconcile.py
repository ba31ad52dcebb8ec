"""`reconcile`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput, ExitCode
from cli.state import State, state_of
from cortex.schemas.reconcile import FindingView, ReconcileReport, ScopeReport, SeenFindingView

app = typer.Typer()
_BOOKS = "jobs, groups and holds"


@app.callback()
def _group() -> None:
    """A group, so that the command keeps its name."""


@app.command("reconcile")
def reconcile(
    ctx: typer.Context,
    provider: Annotated[
        str | None, typer.Option(help="Only this one's network; else all, and the books.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list; nothing is written or closed.")
    ] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="What is known and not settled; asks no network.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="With --findings: settled ones too.")] = False,
) -> None:
    """Compare what networks hold with the leases, and jobs and holds with their workflows.

    Ends with 1 if something is not settled, or a network could not be asked.
    """
    state = state_of(ctx)
    if findings and dry_run:
        raise BadInput("--findings asks nobody: it needs no --dry-run")
    if all_ and not findings:
        raise BadInput("--all goes with --findings")
    with state.client() as cortex:
        if findings:
            page = cortex.findings(closed=all_, provider=provider, limit=500)
            _show_findings(state, page.items)
            raise typer.Exit(ExitCode.OK)
        report = cortex.reconcile(provider, dry_run=dry_run)
    if state.json:
        render.print_json(report)
    else:
        _show(state, report)
    raise typer.Exit(ExitCode.OK if _settled(report) else ExitCode.FAILED)


def _settled(report: ReconcileReport) -> bool:
    return all(
        not scope.error and not scope.more and all(finding.done for finding in scope.findings)
        for scope in report.scopes
    )


def _show(state: State, report: ReconcileReport) -> None:
    rows = [_row(finding) for scope in report.scopes for finding in scope.findings]
    if rows:
        render.table(state, ("KIND", "WHERE", "SINCE", "WHAT", "DONE"), rows)
    for scope in report.scopes:
        render.say(state, _scope(scope))
        if scope.more:
            render.say(state, f"  and {scope.more} more findings there")
    if report.dry_run:
        render.say(state, "a dry run: nothing was written or closed", style="dim")


def _row(finding: SeenFindingView) -> tuple[str, ...]:
    where = finding.provider_id or "-"
    done = f"done: {finding.done}" if finding.done else finding.next
    return (
        finding.kind.value,
        where,
        f"{render.age(finding.first_seen_at)}",
        finding.message,
        done,
    )


def _scope(scope: ScopeReport) -> str:
    name = f"`{scope.provider_id}`" if scope.provider_id else _BOOKS
    if scope.error:
        return f"{name}: could not be compared: {scope.error}"
    count = len(scope.findings) + scope.more
    outcome = "nothing wrong" if not count else f"{count} finding{'s' if count > 1 else ''}"
    what = f"{scope.checked} lease{'' if scope.checked == 1 else 's'} there, "
    return f"{name}: {what if scope.provider_id else f'{scope.checked} looked at, '}{outcome}"


def _show_findings(state: State, items: Sequence[FindingView]) -> None:
    if state.json:
        render.print_json(*items)
        return
    if not items:
        render.say(state, "nothing is wrong, as far as the last runs saw")
        return
    rows = [
        (
            finding.kind.value,
            finding.provider_id or "-",
            render.clock(finding.first_seen_at),
            render.clock(finding.closed_at) or "open",
            finding.message,
            finding.data.get("closed", ""),
        )
        for finding in items
    ]
    render.table(state, ("KIND", "WHERE", "SINCE", "UNTIL", "WHAT", "SETTLED"), rows)
