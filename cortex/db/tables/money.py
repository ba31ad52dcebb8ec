"""The tables of money: the ledger, budgets, what is set aside for accepted jobs.

The ledger refuses UPDATE and DELETE by trigger.
"""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class LedgerRow(Base):
    __tablename__ = "ledger"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    lease_key: Mapped[str] = mapped_column(ForeignKey("leases.key"))
    provider_id: Mapped[str]
    kind: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str]
    usd_rate: Mapped[Decimal] = mapped_column(server_default="1")
    note: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("kind IN ('hold', 'charge', 'release')", name="ledger_kind"),
        CheckConstraint("amount >= 0", name="ledger_amount"),
        Index(
            "ledger_one_charge",
            "lease_key",
            unique=True,
            postgresql_where=text("kind = 'charge'"),
        ),
        Index(
            "ledger_one_release",
            "lease_key",
            unique=True,
            postgresql_where=text("kind = 'release'"),
        ),
        Index("ledger_job", "job_id", "created_at"),
        Index("ledger_created", "created_at"),
        Index(
            "ledger_charges",
            "created_at",
            postgresql_include=["job_id", "amount", "usd_rate"],
            postgresql_where=text("kind = 'charge'"),
        ),
    )


class BudgetRow(Base):
    """What may be spent within a period by the jobs of a scope."""

    __tablename__ = "budgets"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(server_default="")
    scope: Mapped[str]
    scope_value: Mapped[str | None]
    period: Mapped[str | None]
    action: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str]
    usd_rate: Mapped[Decimal] = mapped_column(server_default="1")
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint(
            "scope IN ('system', 'user', 'project', 'label', 'key')", name="budgets_scope"
        ),
        CheckConstraint("(period IS NULL) = (scope = 'key')", name="budgets_in_all"),
        CheckConstraint("period IN ('day', 'week', 'month')", name="budgets_period"),
        CheckConstraint("action IN ('alert', 'stop')", name="budgets_action"),
        Index("budgets_key", "scope_value", unique=True, postgresql_where=text("scope = 'key'")),
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
