"""The tables of budgets: what may be spent, what was told, what is set aside for accepted jobs."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.jobs import NOW, Base


class BudgetRow(Base):
    """What may be spent within a period by the jobs of a scope."""

    __tablename__ = "budgets"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(server_default="")
    scope: Mapped[str]
    scope_value: Mapped[str | None]
    period: Mapped[str]
    action: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str]
    usd_rate: Mapped[Decimal] = mapped_column(server_default="1")
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("scope IN ('system', 'user', 'label')", name="budgets_scope"),
        CheckConstraint("period IN ('day', 'week', 'month')", name="budgets_period"),
        CheckConstraint("action IN ('alert', 'stop')", name="budgets_action"),
    )


class BudgetAlertRow(Base):
    """An alert that was given: once per budget, period and threshold."""

    __tablename__ = "budget_alerts"

    budget_id: Mapped[str] = mapped_column(
        ForeignKey("budgets.id", ondelete="CASCADE"), primary_key=True
    )
    period_start: Mapped[datetime] = mapped_column(primary_key=True)
    threshold: Mapped[int] = mapped_column(primary_key=True)
    spent: Mapped[Decimal]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class JobReserveRow(Base):
    """What is set aside for an accepted job until its lease holds money, in USD."""

    __tablename__ = "job_reserves"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    usd: Mapped[Decimal]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    released_at: Mapped[datetime | None]

    __table_args__ = (
        Index("job_reserves_open", "job_id", postgresql_where=text("released_at IS NULL")),
    )
