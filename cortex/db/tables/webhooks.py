"""The tables of webhooks and of what is delivered to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class WebhookRow(Base):
    """`tx` and `seq` are the position of the last event that was looked at for it.

    `vouched_by` has said last where it leads, or enabled it; None: its owner.
    """

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    project: Mapped[str]
    vouched_by: Mapped[str | None]
    reach: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    url: Mapped[str]
    secrets: Mapped[bytes]
    headers: Mapped[list[str]] = mapped_column(server_default="{}")
    previous_until: Mapped[datetime | None]
    events: Mapped[list[str]]
    jobs: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str] = mapped_column(server_default="")
    tx: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(server_default="0")
    failing_since: Mapped[datetime | None]
    hurried_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("reach IN ('own', 'all')", name="webhooks_reach"),
        Index("webhooks_owner", "owner", "id"),
        Index("webhooks_project", "project", "id"),
    )


class WebhookDeliveryRow(Base):
    """One event for one webhook. Of a lane only the oldest pending one has a `due_at`.

    `claim` names the attempt that is under way; `due_at` is then when it counts as lost.
    A ping has no event and brings its own `body`.
    """

    __tablename__ = "webhook_deliveries"

    id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event_id: Mapped[str | None]
    event_type: Mapped[str]
    lane: Mapped[str]
    tx: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(server_default="pending")
    due_at: Mapped[datetime | None]
    claim: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    log: Mapped[list[Any]] = mapped_column(server_default="[]")
    queued_at: Mapped[datetime] = mapped_column(server_default=NOW)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('pending', 'delivered', 'dead')", name="webhook_deliveries_state"
        ),
        Index("webhook_deliveries_once", "webhook_id", "event_id", unique=True),
        Index("webhook_deliveries_listed", "webhook_id", "number"),
        Index(
            "webhook_deliveries_due",
            "webhook_id",
            "due_at",
            postgresql_where=text("state = 'pending' AND due_at IS NOT NULL"),
        ),
        Index(
            "webhook_deliveries_lane",
            "webhook_id",
            "lane",
            "tx",
            "seq",
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "webhook_deliveries_dead",
            "webhook_id",
            "number",
            postgresql_where=text("state = 'dead'"),
        ),
        Index(
            "webhook_deliveries_ended",
            "ended_at",
            postgresql_where=text("ended_at IS NOT NULL"),
        ),
    )
