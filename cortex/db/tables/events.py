"""The table of events, outbox and history in one."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Identity,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import CURRENT_TX, NOW, Base


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
