"""The tables of schedules: when what is submitted, and what became of each time."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class ScheduleRow(Base):
    """What is wanted; Temporal's schedule follows. `told_revision` says how far it has."""

    __tablename__ = "schedules"

    id: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str]
    owner: Mapped[str]
    api_key: Mapped[str | None]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    cron: Mapped[str]
    timezone: Mapped[str]
    overlap: Mapped[str]
    catchup: Mapped[timedelta]
    jitter: Mapped[timedelta]
    start_at: Mapped[datetime | None]
    end_at: Mapped[datetime | None]
    template_id: Mapped[str | None]
    template: Mapped[str | None]
    template_version: Mapped[int | None]
    params: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    overrides: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    job: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    note: Mapped[str] = mapped_column(server_default="")
    pause_reason: Mapped[str] = mapped_column(server_default="")
    revision: Mapped[int] = mapped_column(server_default="1")
    told_revision: Mapped[int] = mapped_column(server_default="0")
    backfills: Mapped[list[Any]] = mapped_column(server_default="[]")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("num_nonnulls(template_id, job) = 1", name="schedules_what"),
        Index("schedules_name", "project", "name", unique=True),
    )


class ScheduleRunRow(Base):
    """One time: that it is here as `submitted` and that its job is there is one transaction."""

    __tablename__ = "schedule_runs"

    schedule_id: Mapped[str] = mapped_column(
        ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True
    )
    due_at: Mapped[datetime] = mapped_column(primary_key=True)
    cause: Mapped[str]
    state: Mapped[str]
    made: Mapped[str | None]
    message: Mapped[str] = mapped_column(server_default="")
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint(
            "state IN ('waiting', 'submitted', 'skipped', 'refused')", name="schedule_runs_state"
        ),
        CheckConstraint("(made IS NULL) = (state <> 'submitted')", name="schedule_runs_made"),
    )
