"""The tables of groups: the group, its gangs and their decisions, what its jobs need."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class JobGroupRow(Base):
    __tablename__ = "job_groups"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner: Mapped[str]
    project: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str]
    reason: Mapped[str | None]
    message: Mapped[str] = mapped_column(server_default="")
    spec: Mapped[dict[str, Any]]
    labels: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    cancel_requested_at: Mapped[datetime | None]
    cancel_reason: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]
    template: Mapped[dict[str, Any] | None]

    __table_args__ = (
        Index("job_groups_created", "created_at", "id"),
        Index("job_groups_state_created", "state", "created_at"),
        Index("job_groups_project_created", "project", "created_at"),
    )


class JobGangRow(Base):
    """Members that are committed together. `decision` is the commit point: written once."""

    __tablename__ = "job_gangs"

    group_id: Mapped[str] = mapped_column(
        ForeignKey("job_groups.id", ondelete="CASCADE"), primary_key=True
    )
    gang: Mapped[int] = mapped_column(primary_key=True)
    decision: Mapped[str | None]
    reason: Mapped[str] = mapped_column(server_default="")
    started_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("decision IN ('committed', 'aborted')", name="job_gangs_decision"),
    )


class JobNeedRow(Base):
    """A job that must complete before another of its group starts."""

    __tablename__ = "job_needs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    needs_job_id: Mapped[str] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )

    __table_args__ = (Index("job_needs_needed", "needs_job_id"),)
