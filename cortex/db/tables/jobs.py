"""The tables of jobs: states, leases, ledger, events, commands, logs, outputs, frames.

What is written when: docs/architecture/jobs.md.

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
    member: Mapped[str | None]
    gang: Mapped[int | None]
    held: Mapped[bool] = mapped_column(server_default=text("false"))
    progress: Mapped[Decimal | None] = mapped_column(Numeric(6, 5))
    labels: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    cost: Mapped[Decimal] = mapped_column(server_default="0")
    currency: Mapped[str] = mapped_column(server_default="USD")
    extension: Mapped[timedelta] = mapped_column(server_default="0")
    losses: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0")
    log_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    log_dropped_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    log_seq: Mapped[int] = mapped_column(server_default="0")
    log_open: Mapped[list[Any]] = mapped_column(server_default="[]")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    warned_at: Mapped[datetime | None]
    restarted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("jobs_created", "created_at", "id"),
        Index("jobs_state_created", "state", "created_at"),
        Index("jobs_owner_created", "owner", "created_at"),
        Index("jobs_name_created", "name", "created_at"),
        Index("jobs_provider_created", "provider_id", "created_at"),
        Index(
            "jobs_labels",
            "labels",
            postgresql_using="gin",
            # By key and value together: by the key alone would be half of the table.
            postgresql_ops={"labels": "jsonb_path_ops"},
        ),
        Index("jobs_group", "group_id", "id", postgresql_where=text("group_id IS NOT NULL")),
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
    reserved_at: Mapped[datetime | None]
    committed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    releasing_at: Mapped[datetime | None]
    collected_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    cost: Mapped[Decimal | None]
    currency: Mapped[str] = mapped_column(server_default="USD")
    failure: Mapped[str | None]
    unknown_since: Mapped[datetime | None]
    unknown_reason: Mapped[str] = mapped_column(server_default="")
    usage_amount: Mapped[Decimal | None]
    usage_currency: Mapped[str | None]
    usage_at: Mapped[datetime | None]
    usage_usd: Mapped[Decimal | None]
    usage_estimated: Mapped[bool] = mapped_column(server_default=text("false"))
    resolution: Mapped[dict[str, Any] | None]
    settle_steps: Mapped[list[Any]] = mapped_column(server_default="[]")

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
        Index(
            "ledger_charges",
            "created_at",
            postgresql_include=["job_id", "amount", "usd_rate"],
            postgresql_where=text("kind = 'charge'"),
        ),
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
        Index("events_subject", "subject", "tx", "seq", postgresql_where=text("job_id IS NULL")),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )


class CommandRow(Base):
    """What Temporal must still be told: the outbox of workflow starts and signals."""

    __tablename__ = "commands"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    group_id: Mapped[str | None] = mapped_column(ForeignKey("job_groups.id"))
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    due_at: Mapped[datetime] = mapped_column(server_default=NOW)
    attempts: Mapped[int] = mapped_column(server_default="0")
    done_at: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(
            "kind IN ('start', 'cancel', 'extend', 'start_group', 'nudge')", name="commands_kind"
        ),
        CheckConstraint("num_nonnulls(job_id, group_id) = 1", name="commands_subject"),
        Index("commands_open", "id", postgresql_where=text("done_at IS NULL")),
        Index("commands_job", "job_id", "id"),
        Index("commands_group", "group_id", "id"),
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
    kind: Mapped[str] = mapped_column(server_default="file")
    raw: Mapped[bytes | None]
    reason: Mapped[str] = mapped_column(server_default="")


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
