"""The tables of plugins: which there are, how far each subscriber has come, what was skipped."""

from datetime import datetime

from sqlalchemy import BigInteger, Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class PluginRow(Base):
    """A plugin as the workers last reported it."""

    __tablename__ = "plugins"

    name: Mapped[str] = mapped_column(primary_key=True)
    package: Mapped[str] = mapped_column(server_default="")
    version: Mapped[str] = mapped_column(server_default="")
    strategies: Mapped[list[str]] = mapped_column(server_default="{}")
    channels: Mapped[list[str]] = mapped_column(server_default="{}")
    problem: Mapped[str] = mapped_column(server_default="")
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class SubscriberRow(Base):
    """Who is handed events, and the cursor: `position` is that of the last one done with.

    `owner` is the worker that hands them out until `claimed_until`.
    """

    __tablename__ = "event_subscribers"

    id: Mapped[str] = mapped_column(primary_key=True)
    plugin: Mapped[str]
    position: Mapped[str]
    owner: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    retry_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(server_default="")
    delivered: Mapped[int] = mapped_column(BigInteger, server_default="0")
    skipped: Mapped[int] = mapped_column(BigInteger, server_default="0")
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class SkippedEventRow(Base):
    """An event that a subscriber did not take, however often it was tried."""

    __tablename__ = "skipped_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    subscriber: Mapped[str]
    event_id: Mapped[str]
    event_type: Mapped[str]
    subject: Mapped[str]
    attempts: Mapped[int]
    error: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (Index("skipped_events_subscriber", "subscriber", "id"),)
