"""The table of the named secrets of projects."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class NamedSecretRow(Base):
    """By the name of the project: the personal ones have no row."""

    __tablename__ = "named_secrets"

    id: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str]
    name: Mapped[str]
    # Under the key ring.
    sealed: Mapped[bytes]
    owner: Mapped[str]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    set_by: Mapped[str]
    set_at: Mapped[datetime] = mapped_column(server_default=NOW)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    used_at: Mapped[datetime | None]

    __table_args__ = (Index("named_secrets_once", "project", "name", unique=True),)
