"""The tables of logins by other services: whom they know, and logins that are under way."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class IdentityRow(Base):
    __tablename__ = "identities"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    # Only one that the service has verified.
    email: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    last_login_at: Mapped[datetime] = mapped_column(server_default=NOW)


class SsoLoginRow(Base):
    __tablename__ = "sso_logins"

    # Of the `state`, which comes back once.
    hash: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str]
    # Of what the browser keeps in a cookie.
    browser: Mapped[str]
    source: Mapped[str] = mapped_column(index=True)
    # The device login that it is for, if any.
    device_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(index=True)
