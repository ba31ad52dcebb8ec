"""Rows and domain objects as the API shows them (`cortex.schemas.jobs` says what they look like).

Jobs come from the database as JSON: a list of 100 must not cost 100 models.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes

import orjson

from cortex.db.jobs.logs import StoredLine
from cortex.db.jobs.outputs import NotKept, StoredOutput
from cortex.db.jobs.repository import NewJob
from cortex.domain.events import Event
from cortex.domain.money.ledger import LedgerEntry
from cortex.domain.states import JobState
from cortex.schemas.events import EventView
from cortex.schemas.jobs import JobView, LeftOutView, LogEntry, OutputView
from cortex.schemas.money import LedgerView
from cortex.settings import TemporalSettings


def render(value: Any) -> bytes:
    """JSON bytes of plain values, times in UTC."""
    return orjson.dumps(value, default=_other)


def job_view(stored: str, temporal: TemporalSettings, job_id: str) -> str:
    """A `JobView`: a job as the database shows it, with the link to its workflow."""
    url = render(temporal_url(temporal, job_id)).decode()
    return f'{stored[:-1]},"temporal_url":{url}}}'


# What nobody has said of a job yet is as its view has it by default.
_AT_FIRST: Final[dict[str, Any]] = {
    name: field.get_default(call_default_factory=True)
    for name, field in JobView.model_fields.items()
    if not field.is_required()
} | {"extension": 0}


def new_job_view(
    job: NewJob, spec: dict[str, Any], created_at: datetime, temporal: TemporalSettings
) -> dict[str, Any]:
    """The `JobView` of a job that was just stored, as `job_view` would give it: spares a read."""
    state = JobState.PENDING.value
    return {
        **_AT_FIRST,
        "id": job.id,
        "name": job.spec.name,
        "owner": job.owner,
        "project": job.project,
        "state": state,
        "labels": job.spec.labels,
        "cost": {"amount": "0", "currency": "USD"},
        "created_at": created_at,
        "spec": spec,
        "template": job.template and job.template.model_dump(),
        "history": [{"state": state, "attempt": 0, "message": "", "time": created_at}],
        "temporal_url": temporal_url(temporal, job.id),
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
        partial=line.partial,
    )


def output_view(output: StoredOutput) -> OutputView:
    return OutputView(
        path=output.path,
        size=output.size,
        sha256=output.sha256,
        attempt=output.attempt,
        created_at=output.created_at,
        kind=output.kind,
        raw_path=_encoded(output.raw),
    )


def left_out_view(left_out: NotKept) -> LeftOutView:
    return LeftOutView(path=left_out.path, reason=left_out.reason, raw_path=_encoded(left_out.raw))


def _encoded(raw: bytes | None) -> str | None:
    """A path of any bytes as text, as in a URL (RFC 3986): `out/caf%E9.txt`."""
    return None if raw is None else quote_from_bytes(raw, safe="/")


def ledger_view(entry: LedgerEntry) -> LedgerView:
    return LedgerView(
        id=entry.id,
        job_id=entry.job_id,
        lease_key=entry.lease_key,
        provider_id=entry.provider_id,
        kind=entry.kind,
        amount=entry.amount,
        usd_rate=Decimal(entry.usd_rate),
        note=entry.note,
        created_at=entry.created_at,
    )


def _other(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} cannot be shown")
