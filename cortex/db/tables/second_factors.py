"""The tables of second factors."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class TotpSeedRow(Base):
    __tablename__ = "totp_seeds"

    # That of the user.
    id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    # Under the key ring.
    sealed: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class RecoveryCodeRow(Base):
    __tablename__ = "recovery_codes"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    hash: Mapped[str] = mapped_column(primary_key=True)
    used_at: Mapped[datetime | None]
