"""Budgets in the database, as somebody with the right would have made them."""

from datetime import UTC, datetime
from decimal import Decimal

from cortex.db.engine import Database
from cortex.domain.ids import new_id
from cortex.domain.money import Money
from cortex.domain.money.budgets import Budget, BudgetAction, BudgetPeriod, BudgetScope, BudgetState


async def add_budget(
    database: Database,
    amount: str,
    *,
    scope: BudgetScope = BudgetScope.SYSTEM,
    value: str | None = None,
    period: BudgetPeriod | None = BudgetPeriod.MONTH,
    action: BudgetAction = BudgetAction.STOP,
    usd_rate: str = "1",
    name: str = "team",
) -> Budget:
    now = datetime.now(UTC)
    budget = Budget(
        id=new_id("bud"),
        name=name,
        scope=scope,
        scope_value=value,
        period=period,
        action=action,
        amount=Money.model_validate(amount),
        usd_rate=Decimal(usd_rate),
        created_at=now,
        updated_at=now,
    )
    async with database.transaction() as tx:
        await tx.budgets.add(budget)
    return budget


async def state_of(database: Database, budget: Budget) -> BudgetState:
    """What counts against it now."""
    async with database.reading() as tx:
        return (await tx.budgets.states([budget], await tx.spending.now()))[0]
