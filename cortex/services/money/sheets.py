"""The ledger and reports on it as sheets."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from cortex.domain.money.ledger import LedgerEntry
from cortex.schemas.money import CostReport
from cortex.services.sheets import Cell, csv_text

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
