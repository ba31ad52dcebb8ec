"""The tables of projects and of who is in them.

The personal project of everybody has their name, and no row.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class ProjectRow(Base):
    __tablename__ = "projects"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    created_by: Mapped[str] = mapped_column(server_default="")
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    archived_at: Mapped[datetime | None]


class ProjectMemberRow(Base):
    """By names: those who have their key in the settings have no other mark."""

    __tablename__ = "project_members"

    project: Mapped[str] = mapped_column(ForeignKey("projects.name"), primary_key=True)
    member: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    added_at: Mapped[datetime] = mapped_column(server_default=NOW)
    added_by: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (Index("project_members_member", "member"),)
