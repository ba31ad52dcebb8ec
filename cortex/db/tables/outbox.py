"""The tables of the outbox: commands to Temporal, and the keys of requests that were answered."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class CommandRow(Base):
    """A workflow start, a signal, or a schedule; without `done_at` it is not delivered yet."""

    __tablename__ = "commands"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    group_id: Mapped[str | None] = mapped_column(ForeignKey("job_groups.id"))
    schedule_id: Mapped[str | None]
    """Not a foreign key: Temporal is told of a schedule that is gone, too."""
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    due_at: Mapped[datetime] = mapped_column(server_default=NOW)
    attempts: Mapped[int] = mapped_column(server_default="0")
    done_at: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(
            "kind IN ('start', 'cancel', 'extend', 'start_group', 'nudge', 'schedule', 'backfill')",
            name="commands_kind",
        ),
        CheckConstraint("num_nonnulls(job_id, group_id, schedule_id) = 1", name="commands_subject"),
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
