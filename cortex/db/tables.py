"""All tables (DESIGN section 6, plus commands, idempotency keys, logs and outputs).

`job_status`, `provider_status` and `events` are range-partitioned by time; partitions are made
and dropped by `cortex.db.partitions`. The ledger refuses UPDATE and DELETE by trigger.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NOW = text("now()")
# The id of the writing transaction: with the snapshot's xmin it gives readers a gapless order.
CURRENT_TX = text("(pg_current_xact_id()::text)::bigint")
MONEY = Numeric(38, 18)


class Base(DeclarativeBase):
    type_annotation_map = {
        str: Text,
        datetime: DateTime(timezone=True),
        timedelta: Interval,
        dict[str, Any]: JSONB,
        dict[str, str]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
        Decimal: MONEY,
        bytes: LargeBinary,
        bool: Boolean,
        int: Integer,
    }


class JobRow(Base):
    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner: Mapped[str]
    spec: Mapped[dict[str, Any]]
    secrets: Mapped[bytes | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    message: Mapped[str] = mapped_column(server_default="")
    exit_code: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    provider_id: Mapped[str | None]
    group_id: Mapped[str | None]
    progress: Mapped[Decimal | None] = mapped_column(Numeric(6, 5))
    labels: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    cost: Mapped[Decimal] = mapped_column(server_default="0")
    currency: Mapped[str] = mapped_column(server_default="USD")
    extension: Mapped[timedelta] = mapped_column(server_default="0")
    log_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    log_dropped_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    log_seq: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]

    __table_args__ = (
        Index("jobs_created", "created_at", "id"),
        Index("jobs_state_created", "state", "created_at"),
        Index("jobs_owner_created", "owner", "created_at"),
        Index("jobs_provider_created", "provider_id", "created_at"),
        Index("jobs_labels", "labels", postgresql_using="gin"),
    )


class JobStatusRow(Base):
    """The history of a job's states."""

    __tablename__ = "job_status"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, primary_key=True)
    job_id: Mapped[str]
    state: Mapped[str]
    attempt: Mapped[int] = mapped_column(server_default="0")
    message: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (
        Index("job_status_job", "job_id", "id"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )


class LeaseRow(Base):
    __tablename__ = "leases"

    key: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    provider_id: Mapped[str]
    state: Mapped[str]
    offer: Mapped[dict[str, Any]]
    ref: Mapped[dict[str, Any] | None]
    run_state: Mapped[str | None]
    exit_code: Mapped[int | None]
    message: Mapped[str] = mapped_column(server_default="")
    endpoints: Mapped[list[Any]] = mapped_column(server_default="[]")
    version: Mapped[int] = mapped_column(server_default="0")
    signalled_version: Mapped[int] = mapped_column(server_default="0")
    log_cursor: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    committed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    cost: Mapped[Decimal | None]
    currency: Mapped[str] = mapped_column(server_default="USD")
    failure: Mapped[str | None]

    __table_args__ = (
        Index("leases_job_attempt", "job_id", "attempt", unique=True),
        Index("leases_created", "created_at", "provider_id"),
        Index(
            "leases_open",
            "provider_id",
            "key",
            postgresql_where=text("state <> 'released'"),
        ),
    )


class LedgerRow(Base):
    __tablename__ = "ledger"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    lease_key: Mapped[str] = mapped_column(ForeignKey("leases.key"))
    provider_id: Mapped[str]
    kind: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str]
    usd_rate: Mapped[Decimal] = mapped_column(server_default="1")
    note: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("kind IN ('hold', 'charge', 'release')", name="ledger_kind"),
        CheckConstraint("amount >= 0", name="ledger_amount"),
        Index(
            "ledger_one_charge",
            "lease_key",
            unique=True,
            postgresql_where=text("kind = 'charge'"),
        ),
        Index(
            "ledger_one_release",
            "lease_key",
            unique=True,
            postgresql_where=text("kind = 'release'"),
        ),
        Index("ledger_job", "job_id", "created_at"),
        Index("ledger_created", "created_at"),
    )


class EventRow(Base):
    __tablename__ = "events"

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, primary_key=True)
    tx: Mapped[int] = mapped_column(BigInteger, server_default=CURRENT_TX)
    id: Mapped[str]
    type: Mapped[str]
    subject: Mapped[str]
    job_id: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    __table_args__ = (
        Index("events_position", "tx", "seq"),
        Index("events_job", "job_id", "tx", "seq"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )


class CommandRow(Base):
    """What Temporal must still be told: the outbox of workflow starts and signals."""

    __tablename__ = "commands"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    due_at: Mapped[datetime] = mapped_column(server_default=NOW)
    attempts: Mapped[int] = mapped_column(server_default="0")
    done_at: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("kind IN ('start', 'cancel', 'extend')", name="commands_kind"),
        Index("commands_open", "id", postgresql_where=text("done_at IS NULL")),
        Index("commands_job", "job_id", "id"),
    )


class IdempotencyRow(Base):
    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    job_ids: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (Index("idempotency_created", "created_at"),)


class JobLogRow(Base):
    """A chunk of a job's output: `lines` is a list of `[time_us, stream, text]`."""

    __tablename__ = "job_logs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    bytes: Mapped[int]
    last_at: Mapped[datetime]
    lines: Mapped[list[Any]]


class JobOutputRow(Base):
    __tablename__ = "job_outputs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class JobFrameRow(Base):
    """A frame of a render job: how it does in the lease that has it, and what it took before."""

    __tablename__ = "job_frames"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    frame: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    lease_key: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="0")
    earlier_attempts: Mapped[int] = mapped_column(server_default="0")
    cost: Mapped[Decimal | None]
    earlier_cost: Mapped[Decimal | None]
    currency: Mapped[str | None]
    seconds: Mapped[Decimal | None]
    message: Mapped[str] = mapped_column(server_default="")
    output: Mapped[str | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'rendering', 'done', 'failed')", name="job_frames_state"
        ),
    )


class ProviderRow(Base):
    __tablename__ = "providers"

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    credentials: Mapped[bytes | None]
    capabilities: Mapped[dict[str, Any] | None]
    prices: Mapped[dict[str, Any] | None]
    status: Mapped[str] = mapped_column(server_default="offline")
    message: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    source: Mapped[str] = mapped_column(server_default="settings")
    configured: Mapped[bool] = mapped_column(server_default=text("true"))
    version: Mapped[int] = mapped_column(server_default="1")
    secret_fields: Mapped[list[str]] = mapped_column(server_default="{}")
    rate_limit: Mapped[float | None] = mapped_column(Double)
    standing: Mapped[dict[str, Any] | None]
    network: Mapped[dict[str, Any] | None]
    checked_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint("source IN ('settings', 'api')", name="providers_source"),)


class ProviderTypeRow(Base):
    """A provider type that workers have installed, for clients that ask for its fields."""

    __tablename__ = "provider_types"

    name: Mapped[str] = mapped_column(primary_key=True)
    json_schema: Mapped[dict[str, Any]]
    secret_fields: Mapped[list[str]] = mapped_column(server_default="{}")
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ProviderDraftRow(Base):
    """A configuration that a worker is asked to check: encrypted, and soon deleted."""

    __tablename__ = "provider_drafts"

    id: Mapped[str] = mapped_column(primary_key=True)
    provider_id: Mapped[str]
    type: Mapped[str]
    sealed: Mapped[bytes]
    config: Mapped[dict[str, Any] | None]
    credentials: Mapped[bytes | None]
    secret_fields: Mapped[list[str]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ProviderCircuitRow(Base):
    """The breaker of a provider, shared by all workers; no row: closed."""

    __tablename__ = "provider_circuits"

    provider_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default="closed")
    failures: Mapped[int] = mapped_column(server_default="0")
    trips: Mapped[int] = mapped_column(server_default="0")
    since: Mapped[datetime | None]
    probe_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(server_default="")


class ProviderPriceRow(Base):
    """The history of a provider's price sheets: one row for every change."""

    __tablename__ = "provider_prices"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    provider_id: Mapped[str]
    prices: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (Index("provider_prices_provider", "provider_id", "id"),)


class ProviderStatusRow(Base):
    """The history of a provider's health."""

    __tablename__ = "provider_status"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, primary_key=True)
    provider_id: Mapped[str]
    status: Mapped[str]
    latency_ms: Mapped[int | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    __table_args__ = (
        Index("provider_status_provider", "provider_id", "id"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )


class UserRow(Base):
    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    role: Mapped[str]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ApiKeyRow(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    prefix: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class WebhookRow(Base):
    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    url: Mapped[str]
    secret: Mapped[bytes | None]
    event_types: Mapped[list[str]] = mapped_column(server_default="{}")
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class WebhookDeliveryRow(Base):
    __tablename__ = "webhook_deliveries"

    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event_id: Mapped[str]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="0")
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    delivered_at: Mapped[datetime | None]

    __table_args__ = (Index("webhook_deliveries_once", "webhook_id", "event_id", unique=True),)


class BudgetRow(Base):
    __tablename__ = "budgets"

    id: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str]
    scope_value: Mapped[str | None]
    period: Mapped[str]
    action: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class JobGroupRow(Base):
    __tablename__ = "job_groups"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner: Mapped[str]
    state: Mapped[str]
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]


class JobTemplateRow(Base):
    __tablename__ = "job_templates"

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str]
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (Index("job_templates_name", "owner", "name", unique=True),)


class JobScheduleRow(Base):
    __tablename__ = "job_schedules"

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str]
    spec: Mapped[dict[str, Any]]
    cron: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class AuditRow(Base):
    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="")
    data: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (Index("audit_subject", "subject", "id"),)


class SettingRow(Base):
    """Runtime settings, changed through API or dashboard."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
