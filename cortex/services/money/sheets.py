"""CSV (RFC 4180) for spreadsheets and accounting: UTF-8, a heading, times in UTC."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from cortex.domain.money import format_amount
from cortex.domain.money.ledger import LedgerEntry
from cortex.schemas.money import CostReport

Cell = str | int | Decimal | datetime

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
LEDGER_HEADING: Final = (
    "time",
    "kind",
    "amount",
    "currency",
    "usd_rate",
    "usd",
    "job",
    "provider",
    "lease",
    "note",
    "id",
)


def csv_text(rows: Iterable[Sequence[Cell]]) -> str:
    """The rows as CSV.

    A text that a spreadsheet would take for a formula gets a `'` before it: names and labels are
    whatever a user wrote.
    """
    out = io.StringIO()
    csv.writer(out).writerows([[_cell(value) for value in row] for row in rows])
    return out.getvalue()


def ledger_rows(entries: Iterable[LedgerEntry]) -> list[Sequence[Cell]]:
    """Below `LEDGER_HEADING`."""
    return [
        (
            entry.created_at,
            entry.kind.value,
            entry.amount.amount,
            entry.amount.currency,
            Decimal(entry.usd_rate),
            entry.amount.amount * Decimal(entry.usd_rate),
            entry.job_id,
            entry.provider_id,
            entry.lease_key,
            entry.note,
            entry.id,
        )
        for entry in entries
    ]


def report_csv(report: CostReport) -> str:
    """A report, one column per key."""
    sums = ("currency", "jobs", "charged", "held", "charged_usd", "held_usd")
    rows: list[Sequence[Cell]] = [(*report.group_by.split(","), *sums)]
    rows += [
        (
            *row.keys,
            row.charged.currency,
            row.jobs,
            row.charged.amount,
            row.held.amount,
            row.charged_usd,
            row.held_usd,
        )
        for row in report.rows
    ]
    return csv_text(rows)


def _cell(value: Cell) -> str:
    if isinstance(value, Decimal):
        return format_amount(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
