"""The tables of templates: names and versions of job and group specs."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class TemplateRow(Base):
    __tablename__ = "templates"

    id: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str]
    owner: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    latest: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("kind IN ('job', 'group')", name="templates_kind"),
        Index("templates_name", "project", "name", unique=True),
    )


class TemplateVersionRow(Base):
    """A version, which never changes."""

    __tablename__ = "template_versions"

    template_id: Mapped[str] = mapped_column(
        ForeignKey("templates.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    parameters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    created_by: Mapped[str]
