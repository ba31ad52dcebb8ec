"""The tables of sessions, their refresh tokens, and the keys that sign access tokens."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class SessionRow(Base):
    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    last_used_at: Mapped[datetime] = mapped_column(server_default=NOW)
    source: Mapped[str] = mapped_column(server_default="")
    client: Mapped[str] = mapped_column(server_default="")
    expires_at: Mapped[datetime]
    longest_until: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_why: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (
        Index("sessions_user", "user_id", "id"),
        Index("sessions_expiry", "expires_at"),
    )


class RefreshTokenRow(Base):
    __tablename__ = "refresh_tokens"

    hash: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    # With the token itself it makes the next one.
    nonce: Mapped[bytes | None]

    __table_args__ = (
        Index("refresh_tokens_session", "session_id"),
        Index("refresh_tokens_expiry", "expires_at"),
    )


class SigningKeyRow(Base):
    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    public: Mapped[dict[str, str]]
    # The whole key, under the key ring.
    sealed: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    retired_at: Mapped[datetime | None]
