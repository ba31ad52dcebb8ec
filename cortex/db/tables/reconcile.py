"""The table of what reconcile found."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class ReconcileFindingRow(Base):
    """Something that should not be: open until it is closed or gone."""

    __tablename__ = "reconcile_findings"

    id: Mapped[str] = mapped_column(primary_key=True)
    provider_id: Mapped[str | None]
    kind: Mapped[str]
    subject: Mapped[str]
    message: Mapped[str] = mapped_column(server_default="")
    data: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    first_seen_at: Mapped[datetime] = mapped_column(server_default=NOW)
    last_seen_at: Mapped[datetime] = mapped_column(server_default=NOW)
    closed_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "reconcile_findings_open",
            "kind",
            "subject",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index("reconcile_findings_seen", "first_seen_at", "id"),
    )
