"""The table of saved filters of lists of jobs."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class SavedFilterRow(Base):
    """One of somebody's own, or of a project."""

    __tablename__ = "saved_filters"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner: Mapped[str]
    project: Mapped[str | None]
    jobs: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        Index(
            "saved_filters_own",
            "owner",
            "name",
            unique=True,
            postgresql_where=text("project IS NULL"),
        ),
        Index(
            "saved_filters_shared",
            "project",
            "name",
            unique=True,
            postgresql_where=text("project IS NOT NULL"),
        ),
    )
