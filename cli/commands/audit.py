"""`audit`."""

import json
import re
from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput, ExitCode
from cli.sheets import write_sheet
from cli.state import State, state_of
from cli.times import since as parse_since
from cortex.domain.audit import HEAD, AuditEntry, Outcome
from cortex.schemas.audit import AuditVerification

_LONGEST = 120
app = typer.Typer()
audit_app = typer.Typer(no_args_is_help=True, help="Who changed what, and who was denied (admins).")
app.add_typer(audit_app, name="audit")

Actor = Annotated[str | None, typer.Option(help="Only by this one.")]
What = Annotated[str | None, typer.Option(help="Only this: `job.cancel`, or `job.*`.")]
Subject = Annotated[str | None, typer.Option(help="Only about this id.")]
Request = Annotated[str | None, typer.Option(help="Only of the request with this id.")]
Denied = Annotated[
    bool | None, typer.Option("--denied/--done", help="Only denied attempts, or only changes.")
]
Since = Annotated[str | None, typer.Option(help="From: `7d` ago, or `2026-01-31`.")]
Until = Annotated[str | None, typer.Option(help="Before.")]


@audit_app.command("list")
def list_entries(
    ctx: typer.Context,
    actor: Actor = None,
    action: What = None,
    subject: Subject = None,
    request: Request = None,
    denied: Denied = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """List entries, the newest first."""
    state = state_of(ctx)
    with state.client() as cortex:
        page = cortex.audit(
            actor=actor,
            action=action,
            subject=subject,
            request_id=request,
            outcome=_outcome(denied),
            since=parse_since(since, "--since"),
            until=parse_since(until, "--until"),
            limit=limit,
        )
    if state.json:
        render.print_json(*page.items)
        return
    if not page.items:
        render.say(state, "there is no such entry")
        return
    heading = ("TIME", "WHO", "FROM", "WHAT", "ABOUT", "OUTCOME", "MORE")
    render.table(state, heading, [_row(entry) for entry in page.items])
    if page.next_cursor is not None:
        render.say(state, f"the newest {limit}; --limit shows more, `cortex audit export` all")


@audit_app.command("export")
def export(
    ctx: typer.Context,
    csv: Annotated[bool, typer.Option("--csv", help="A sheet, not JSON lines.")] = False,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="`-`: to stdout.")
    ] = "-",
    actor: Actor = None,
    action: What = None,
    subject: Subject = None,
    request: Request = None,
    denied: Denied = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write all entries, the oldest first: as JSON, one a line, or as a sheet."""
    state = state_of(ctx)
    with state.client() as cortex:
        entries = cortex.audit_export(
            "csv" if csv else "jsonl",
            actor=actor,
            action=action,
            subject=subject,
            request_id=request,
            outcome=_outcome(denied),
            since=parse_since(since, "--since"),
            until=parse_since(until, "--until"),
        )
    write_sheet(state, output, entries)


@audit_app.command("verify")
def verify(
    ctx: typer.Context,
    known: Annotated[
        str | None,
        typer.Option(metavar="NUMBER:SEAL", help="The head that an earlier verification printed."),
    ] = None,
) -> None:
    """Look whether an entry was changed, removed or slipped in. Ends with 1 if one was.

    Keep the head that it prints somewhere else: only with it can be told whether the newest
    entries were removed together with their seals.
    """
    state = state_of(ctx)
    if known is not None and not re.fullmatch(HEAD, known):
        raise BadInput(f"--known `{known[:80]}`: give the head as it was printed, `NUMBER:SEAL`")
    with state.client() as cortex:
        result = cortex.verify_audit(known)
    if state.json:
        render.print_json(result)
    else:
        _show(state, result, known)
    raise typer.Exit(ExitCode.OK if result.ok else ExitCode.FAILED)


def _show(state: State, result: AuditVerification, known: str | None) -> None:
    if result.problems:
        rows = [
            (str(problem.seq or "-"), str(problem.audit_id or "-"), problem.message)
            for problem in result.problems
        ]
        render.table(state, ("PLACE", "ENTRY", "WHAT"), rows)
    if result.more:
        render.say(state, f"and {result.more} more")
    entries = f"{result.entries} {'entry' if result.entries == 1 else 'entries'}"
    if not result.ok:
        render.say(state, f"the audit log was tampered with ({entries} sealed)")
    elif known is None:
        render.say(state, f"{entries}, each as it was written")
    else:
        render.say(state, f"{entries}, each as it was written; the known head is among them")
    if result.waiting:
        render.say(state, f"{result.waiting} more, as written, wait for their seal")
    if result.gaps:
        render.say(
            state,
            f"{result.gaps} numbers without an entry: changes that were undone, or entries that "
            "were removed before they were sealed",
        )
    if result.head is not None:
        print(f"head {result.head}")


def _outcome(denied: bool | None) -> Outcome | None:
    if denied is None:
        return None
    return Outcome.DENIED if denied else Outcome.DONE


def _row(entry: AuditEntry) -> tuple[str, ...]:
    more = json.dumps(entry.data, ensure_ascii=False) if entry.data else ""
    return (
        render.clock(entry.created_at),
        entry.actor or "-",
        entry.source or "-",
        entry.action,
        entry.subject,
        entry.outcome.value,
        more if len(more) <= _LONGEST else f"{more[:_LONGEST]}…",
    )
