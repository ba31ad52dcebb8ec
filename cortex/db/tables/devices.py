"""The table of programs that wait for their user to log in with a browser."""

from datetime import datetime

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class DeviceLoginRow(Base):
    __tablename__ = "device_logins"

    id: Mapped[str] = mapped_column(primary_key=True)
    # A hash. The code that is typed opens nothing by itself.
    device: Mapped[str] = mapped_column(unique=True)
    code: Mapped[str] = mapped_column(unique=True)
    client: Mapped[str]
    source: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    interval: Mapped[float]
    asked_at: Mapped[datetime | None]
    # Who has logged in for it, how, and the hash of what their browser keeps.
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    via: Mapped[str] = mapped_column(server_default="")
    browser: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(index=True)
