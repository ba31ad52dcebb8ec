"""Rows and domain objects as the API shows them (`cortex.schemas` says what they look like).

Jobs are written to JSON straight from their rows: a list of 100 must not cost 100 models.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import orjson

from cortex.db.base import Row
from cortex.db.logs import StoredLine
from cortex.db.outputs import StoredOutput
from cortex.domain.events import Event
from cortex.domain.ledger import LedgerEntry
from cortex.schemas import EventView, LedgerView, LogEntry, OutputView
from cortex.settings import TemporalSettings

_PLAIN = (
    "id",
    "name",
    "owner",
    "state",
    "reason",
    "message",
    "exit_code",
    "attempt",
    "provider_id",
    "progress",
    "labels",
    "created_at",
    "started_at",
    "finished_at",
    "deadline_at",
)


def render(value: Any) -> bytes:
    """JSON bytes of plain values, times in UTC."""
    return orjson.dumps(value, default=_other, option=orjson.OPT_UTC_Z)


def job_summary(row: Row) -> dict[str, Any]:
    """A `JobSummary`."""
    shown: dict[str, Any] = {name: row[name] for name in _PLAIN}
    shown["cost"] = {"amount": row["cost"], "currency": row["currency"]}
    return shown


def job_view(
    row: Row, leases: Sequence[Row], history: Sequence[Row], temporal: TemporalSettings
) -> dict[str, Any]:
    """A `JobView`."""
    return {
        **job_summary(row),
        "spec": row["spec"],
        "leases": [_lease(lease) for lease in leases],
        "history": [dict(entry) for entry in history],
        "log_bytes": row["log_bytes"],
        "log_dropped_bytes": row["log_dropped_bytes"],
        "cancel_requested_at": row["cancel_requested_at"],
        "temporal_url": temporal_url(temporal, row["id"]),
    }


def temporal_url(settings: TemporalSettings, job_id: str) -> str:
    """The page of a job's workflow in Temporal's Web UI."""
    namespace = quote(settings.namespace, safe="")
    return f"{settings.ui_url.rstrip('/')}/namespaces/{namespace}/workflows/{job_id}"


def event_view(event: Event) -> EventView:
    return EventView(
        id=event.id,
        type=f"cortex.{event.type.value}",
        subject=event.subject,
        time=event.time,
        cortexposition=event.position,
        cortexjob=event.job_id,
        data=event.data,
    )


def log_entry(line: StoredLine) -> LogEntry:
    return LogEntry(
        cursor=line.cursor,
        time=line.time,
        attempt=line.attempt,
        stream=line.stream,
        text=line.text,
    )


def output_view(output: StoredOutput) -> OutputView:
    return OutputView(
        path=output.path,
        size=output.size,
        sha256=output.sha256,
        attempt=output.attempt,
        created_at=output.created_at,
    )


def ledger_view(entry: LedgerEntry) -> LedgerView:
    return LedgerView(
        id=entry.id,
        job_id=entry.job_id,
        lease_key=entry.lease_key,
        provider_id=entry.provider_id,
        kind=entry.kind,
        amount=entry.amount,
        note=entry.note,
        created_at=entry.created_at,
    )


def _lease(row: Row) -> dict[str, Any]:
    shown = dict(row)
    cost, currency = shown.pop("cost"), shown.pop("currency")
    shown["cost"] = None if cost is None else {"amount": cost, "currency": currency}
    return shown


def _other(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} cannot be shown")
