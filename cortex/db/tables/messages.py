"""The table of messages to single persons."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class MessageRow(Base):
    """`sealed` holds address, subject and text, encrypted, and goes when the message ends.

    `claim` names the attempt that is under way; `due_at` is then when it counts as lost.
    """

    __tablename__ = "messages"

    id: Mapped[str] = mapped_column(primary_key=True)
    recipient: Mapped[str]
    channel: Mapped[str]
    kind: Mapped[str]
    sealed: Mapped[bytes | None]
    state: Mapped[str] = mapped_column(server_default="pending")
    due_at: Mapped[datetime | None] = mapped_column(server_default=NOW)
    give_up_at: Mapped[datetime]
    claim: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'sent', 'dead')", name="messages_state"),
        CheckConstraint("(state = 'pending') = (sealed IS NOT NULL)", name="messages_sealed"),
        Index("messages_due", "due_at", postgresql_where=text("state = 'pending'")),
        Index("messages_recipient", "recipient", "channel", "created_at"),
        Index("messages_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )
