"""The tables of notices: what persons want to be told, and what waits to be told them."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class NoticePreferenceRow(Base):
    """`id` is the name of whose they are: not everybody who has one is a user.

    `sealed` holds the address of the chat and the token by which one unsubscribes, of which
    `unsubscribe_hash` is the hash; `chat` is the name of the chat's service.
    """

    __tablename__ = "notice_preferences"

    id: Mapped[str] = mapped_column(primary_key=True)
    enabled: Mapped[bool] = mapped_column(server_default=sql("true"))
    named: Mapped[bool] = mapped_column(server_default=sql("true"))
    own: Mapped[list[str]]
    projects: Mapped[list[str]] = mapped_column(server_default="{}")
    email: Mapped[bool] = mapped_column(server_default=sql("true"))
    chat: Mapped[str] = mapped_column(server_default="")
    sealed: Mapped[bytes | None]
    unsubscribe_hash: Mapped[str] = mapped_column(unique=True)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class NoticeRow(Base):
    """One thing that one person is told over one channel; `told_at`: it is in a message."""

    __tablename__ = "notices"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    person: Mapped[str]
    channel: Mapped[str]
    key: Mapped[str]
    kind: Mapped[str]
    subject: Mapped[str]
    owner: Mapped[str]
    project: Mapped[str]
    title: Mapped[str]
    text: Mapped[str] = mapped_column(server_default="")
    see: Mapped[str] = mapped_column(server_default="")
    time: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    told_at: Mapped[datetime | None]

    __table_args__ = (
        Index("notices_once", "person", "channel", "key", unique=True),
        Index(
            "notices_untold",
            "person",
            "channel",
            "created_at",
            postgresql_where=sql("told_at IS NULL"),
        ),
        Index("notices_told", "told_at", postgresql_where=sql("told_at IS NOT NULL")),
    )


class NoticeCursorRow(Base):
    """One row: the position of the last event that was looked at."""

    __tablename__ = "notice_cursor"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tx: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (CheckConstraint("id = 1", name="notice_cursor_one"),)
