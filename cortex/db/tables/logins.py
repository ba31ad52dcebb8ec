"""The tables of logins that failed, and of links by which a password is set."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class LoginAttemptRow(Base):
    __tablename__ = "login_attempts"

    # `account` (a name, be there such a user or not) or `address`.
    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)
    locked_until: Mapped[datetime | None]


class LoginLinkRow(Base):
    __tablename__ = "login_links"

    hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    # `invitation` or `reset`.
    kind: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    created_by: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
