"""`cost`, `ledger`."""

from collections import defaultdict
from decimal import Decimal
from typing import Annotated

import typer

from cli import budget_view, render
from cli.errors import BadInput
from cli.find import find_id
from cli.sheets import write_sheet
from cli.state import State, state_of
from cli.times import since as parse_since
from cortex.domain.money import Money, format_amount
from cortex.domain.money.ledger import EntryKind
from cortex.schemas.money import CostReport, LedgerView

app = typer.Typer()
_KEYS = ("provider", "owner", "project", "job", "group", "cause", "hour", "day", "week", "month")

Csv = Annotated[
    str | None, typer.Option("--csv", metavar="FILE", help="Write a sheet; `-`: to stdout.")
]


@app.command("cost")
def cost(
    ctx: typer.Context,
    by: Annotated[
        str,
        typer.Option(
            help="provider, owner, project, job, group, cause, hour, day, week, month or "
            "label:<key>; or two of them: day,owner."
        ),
    ] = "provider",
    since: Annotated[str | None, typer.Option(help="From: `7d` ago, or `2026-01-31`.")] = None,
    until: Annotated[str | None, typer.Option(help="Before.")] = None,
    sheet: Csv = None,
) -> None:
    """Sum up what was charged and what is held; then the budgets, and what is to be expected.

    Days, weeks and months are those of UTC.
    """
    state = state_of(ctx)
    _check_keys(by)
    start, end = parse_since(since, "--since"), parse_since(until, "--until")
    with state.client() as cortex:
        if sheet is not None:
            write_sheet(
                state, sheet, cortex.costs_csv(by, since=start, until=end, project=state.project)
            )
            return
        report = cortex.costs(by, since=start, until=end, project=state.project)
        if state.json:
            render.print_json(report)
            return
        budgets, forecast = cortex.budgets(), cortex.forecast()
    _show_costs(state, report)
    if budgets:
        render.heading(state, "budgets")
        budget_view.listed(state, budgets)
    print()
    print(budget_view.outlook(forecast))


def _check_keys(by: str) -> None:
    keys = by.split(",")
    good = all(key in _KEYS or (key.startswith("label:") and key != "label:") for key in keys)
    if not good or len(keys) > 2:
        known = ", ".join(_KEYS)
        raise BadInput(f"--by `{by}`: it is one of {known} or label:<key>, or two with a comma")


def _show_costs(state: State, report: CostReport) -> None:
    if not report.rows:
        render.say(state, "nothing was charged")
        return
    names = [key.removeprefix("label:").upper() for key in report.group_by.split(",")]
    rows = [
        (*(r.keys or (r.group,)), str(r.jobs), str(r.charged), str(r.held)) for r in report.rows
    ]
    first = len(names)
    columns = (*names, "JOBS", "CHARGED", "HELD")
    render.table(state, columns, rows, right=(first, first + 1, first + 2))
    total = " + ".join(str(amount) for amount in report.total) or "0 USD"
    foreign = any(amount.currency != "USD" for amount in report.total)
    in_usd = f", {format_amount(report.total_usd)} USD at the rates of the bills" if foreign else ""
    print(f"total charged: {total}{in_usd}")


@app.command("ledger")
def ledger(
    ctx: typer.Context,
    job_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only of this job; none: all.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="With --csv: from this time.")] = None,
    until: Annotated[str | None, typer.Option(help="With --csv: before this time.")] = None,
    sheet: Csv = None,
) -> None:
    """List holds, charges and releases, oldest first, with their sums."""
    state = state_of(ctx)
    start, end = parse_since(since, "--since"), parse_since(until, "--until")
    if sheet is None and (start or end):
        raise BadInput("--since and --until go with --csv")
    with state.client(timeout=600 if sheet else 30) as cortex:
        found_id = find_id(cortex, job_id) if job_id else None
        if sheet is not None:
            write_sheet(state, sheet, cortex.ledger_csv(found_id, since=start, until=end))
            return
        if state.json:
            for entry in cortex.iter_ledger(found_id):
                render.print_json(entry)
            return
        entries = list(cortex.iter_ledger(found_id))
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
