"""`providers`, `cost`, `ledger`."""

from collections import defaultdict
from decimal import Decimal
from typing import Annotated

import typer

from cli import provider_view, render
from cli.errors import BadInput
from cli.find import find_id
from cli.state import State, state_of
from cli.times import since as parse_since
from cortex.domain.ledger import EntryKind
from cortex.domain.money import Money
from cortex.schemas import CostReport, LedgerView

app = typer.Typer()
_GROUPS = ("provider", "owner", "job", "day")


@app.command("providers")
def providers(
    ctx: typer.Context,
    provider_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this one.")
    ] = None,
) -> None:
    """List providers: how they are, what they can run, what they charge."""
    state = state_of(ctx)
    with state.client() as cortex:
        found = (cortex.provider(provider_id),) if provider_id else cortex.providers()
    if state.json:
        render.print_json(*found)
        return
    columns = ("ID", "TYPE", "STATUS", "RUNS", "LIMITS", "LEASES", "PRICES PER HOUR", "MESSAGE")
    render.table(state, columns, [provider_view.row(item) for item in found], right=(5,))


@app.command("cost")
def cost(
    ctx: typer.Context,
    by: Annotated[str, typer.Option(help="provider, owner, job, day or label:<key>.")] = "provider",
    since: Annotated[str | None, typer.Option(help="From: `7d` ago, or `2026-01-31`.")] = None,
    until: Annotated[str | None, typer.Option(help="Before.")] = None,
) -> None:
    """Sum up what was charged, and what is held for leases that are not settled yet."""
    state = state_of(ctx)
    if by not in _GROUPS and not (by.startswith("label:") and by != "label:"):
        raise BadInput(f"--by `{by}`: it is one of {', '.join(_GROUPS)} or label:<key>")
    start, end = parse_since(since, "--since"), parse_since(until, "--until")
    with state.client() as cortex:
        report = cortex.costs(by, since=start, until=end)
    if state.json:
        render.print_json(report)
        return
    _show_costs(state, report)


def _show_costs(state: State, report: CostReport) -> None:
    rows = [(r.group, str(r.jobs), str(r.charged), str(r.held)) for r in report.rows]
    total = " + ".join(str(amount) for amount in report.total) or "0 USD"
    if not rows:
        render.say(state, "nothing was charged")
        return
    name = report.group_by.removeprefix("label:").upper()
    render.table(state, (name, "JOBS", "CHARGED", "HELD"), rows, right=(1, 2, 3))
    print(f"total charged: {total}")


@app.command("ledger")
def ledger(
    ctx: typer.Context,
    job_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only of this job; none: all.")
    ] = None,
) -> None:
    """List holds, charges and releases, oldest first, with their sums."""
    state = state_of(ctx)
    with state.client() as cortex:
        found = find_id(cortex, job_id) if job_id else None
        if state.json:
            for entry in cortex.iter_ledger(found):
                render.print_json(entry)
            return
        entries = list(cortex.iter_ledger(found))
    if not entries:
        render.say(state, "the ledger is empty")
        return
    rows = [
        (
            render.clock(e.created_at),
            e.kind.value,
            str(e.amount),
            e.provider_id,
            e.lease_key,
            e.note,
        )
        for e in entries
    ]
    columns = ("TIME", "KIND", "AMOUNT", "PROVIDER", "LEASE", "NOTE")
    render.table(state, columns, rows, right=(2,))
    print(ledger_sums(entries))


def ledger_sums(entries: list[LedgerView]) -> str:
    """One line: the sums by kind, and how many holds are open."""
    sums: dict[tuple[EntryKind, str], Decimal] = defaultdict(Decimal)
    for entry in entries:
        sums[entry.kind, entry.amount.currency] += entry.amount.amount
    parts = [
        f"{kind.value}s {' + '.join(texts)}"
        for kind in EntryKind
        if (
            texts := [
                str(Money(amount=amount, currency=currency))
                for (of, currency), amount in sums.items()
                if of is kind
            ]
        )
    ]
    return f"{', '.join(parts)}; open holds: {len(open_holds(entries))}"


def open_holds(entries: list[LedgerView]) -> set[str]:
    """The lease keys whose hold no release has closed yet."""
    held = {entry.lease_key for entry in entries if entry.kind is EntryKind.HOLD}
    return held - {entry.lease_key for entry in entries if entry.kind is EntryKind.RELEASE}
