"""The tables of jobs: their states, their output, their result files, their frames."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    String,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class JobRow(Base):
    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner: Mapped[str]
    project: Mapped[str] = mapped_column(server_default="")
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
    template: Mapped[dict[str, Any] | None]
    api_key: Mapped[str | None]
    """The API key that it was submitted with, if that has a budget."""

    __table_args__ = (
        Index("jobs_created", "created_at", "id"),
        Index("jobs_state_created", "state", "created_at"),
        Index("jobs_owner_created", "owner", "created_at"),
        Index("jobs_project_created", "project", "created_at"),
        Index("jobs_name_created", "name", "created_at"),
        Index("jobs_provider_created", "provider_id", "created_at"),
        Index(
            "jobs_labels",
            "labels",
            postgresql_using="gin",
            # By key and value together: by the key alone would be half of the table.
            postgresql_ops={"labels": "jsonb_path_ops"},
        ),
        Index(
            "jobs_sealed",
            text("(substring(secrets from 2 for get_byte(secrets, 0)))"),
            postgresql_where=text("secrets IS NOT NULL"),
        ),
        Index("jobs_api_key", "api_key", postgresql_where=text("api_key IS NOT NULL")),
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
