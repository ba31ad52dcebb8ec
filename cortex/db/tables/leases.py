"""The table of leases: one attempt to run a job at one provider."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


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
