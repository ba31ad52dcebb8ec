"""Budgets: their rows, what counts against them, and the lock that keeps their promise.

Whoever sets more money aside first locks the budgets that cover the job, in the order of their ids,
and reads the sums in a statement of its own after that: a sum in the same statement would be that
of before the wait. What makes a sum smaller needs no lock.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import Select, delete, insert, select, text, update

from cortex.db.base import Access, Reads, Repository, Row, Transacts, Writes
from cortex.db.money.spending import Question, SpendingRepository, covers
from cortex.db.tables.base import NOW
from cortex.db.tables.money import BudgetAlertRow, BudgetRow
from cortex.domain.errors import NotFound
from cortex.domain.money import Money
from cortex.domain.money.budgets import (
    Budget,
    BudgetAction,
    BudgetPeriod,
    BudgetScope,
    BudgetState,
    Covered,
    Period,
    period_of,
)


def stop_covers(owner: str, project: str, labels: str, api_key: str) -> str:
    """That a budget which stops jobs covers a job."""
    return f"""EXISTS (SELECT 1 FROM budgets b
        WHERE b.enabled AND b.action = 'stop' AND {covers("b", owner, project, labels, api_key)})"""


_LOCK: Final = text(f"""
SELECT b.*, clock_timestamp() AS now FROM budgets b
WHERE b.enabled AND b.action = 'stop' AND EXISTS (
    SELECT 1 FROM jsonb_array_elements(CAST(:jobs AS jsonb)) AS g(e)
    WHERE {covers("b", "g.e->>'owner'", "g.e->>'project'", "(g.e->'labels')", "g.e->>'api_key'")})
ORDER BY b.id FOR NO KEY UPDATE OF b
""")

_ALERT: Final = text("""
INSERT INTO budget_alerts (budget_id, period_start, threshold, spent)
SELECT b.id, :start, mark, :spent FROM budgets b, unnest(CAST(:marks AS int[])) AS mark
WHERE b.id = :id
ON CONFLICT DO NOTHING RETURNING threshold
""")

_RATE: Final = text("""
UPDATE budgets SET usd_rate = :rate, updated_at = now()
WHERE id = :id AND currency = :currency AND usd_rate <> :rate
""")


class BudgetRepository(Repository[Access]):
    async def add(self: "BudgetRepository[Transacts]", budget: Budget) -> None:
        await self.connection.execute(insert(BudgetRow).values(**_values(budget)))

    async def get(self, budget_id: str) -> Budget:
        """One budget.

        Raises:
            NotFound: there is none with this id.
        """
        return await self._one(budget_id, _by_id(budget_id))

    async def lock(self: "BudgetRepository[Transacts]", budget_id: str) -> Budget:
        """One budget, which nobody else changes until the transaction ends.

        Raises:
            NotFound: there is none with this id.
        """
        return await self._one(budget_id, _by_id(budget_id).with_for_update())

    async def _one(self, budget_id: str, query: Select[Any]) -> Budget:
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no budget `{budget_id[:60]}`")
        return _budget(row)

    async def hold(self: "BudgetRepository[Transacts]", budget: Budget) -> bool:
        """Keep a budget as it was read until the transaction ends; False if it is not so any more.

        A rate that has moved is no change of the budget.
        """
        held = _by_id(budget.id).with_for_update(read=True)
        row = (await self.connection.execute(held)).mappings().first()
        return row is not None and _wanted(_budget(row)) == _wanted(budget)

    async def all(self) -> list[Budget]:
        query = select(BudgetRow.__table__).order_by(BudgetRow.id)
        return [_budget(row) for row in (await self.connection.execute(query)).mappings()]

    async def of_keys(self, key_ids: Sequence[str]) -> list[Budget]:
        """The budgets of these API keys, as far as they have one."""
        query = select(BudgetRow.__table__).where(
            BudgetRow.scope == BudgetScope.KEY.value, BudgetRow.scope_value.in_(key_ids)
        )
        return [_budget(row) for row in (await self.connection.execute(query)).mappings()]

    async def put(self: "BudgetRepository[Transacts]", budget: Budget) -> None:
        """Write a budget's new values."""
        values = _values(budget) | {"updated_at": NOW}
        await self.connection.execute(
            update(BudgetRow).where(BudgetRow.id == budget.id).values(**values)
        )

    async def remove(self: "BudgetRepository[Transacts]", budget_id: str) -> None:
        await self.connection.execute(delete(BudgetRow).where(BudgetRow.id == budget_id))

    async def set_rate(self: "BudgetRepository[Writes]", budget: Budget, rate: Decimal) -> bool:
        """Keep the present rate of its currency; False if it has it already."""
        values = {"id": budget.id, "currency": budget.amount.currency, "rate": rate}
        return int((await self.connection.execute(_RATE, values)).rowcount) > 0

    async def lock_covering(
        self: "BudgetRepository[Transacts]", jobs: Sequence[Covered]
    ) -> list[BudgetState]:
        """Lock every budget that stops jobs and covers one of these; with what counts against it.

        Until the transaction ends nobody else sets money aside under any of them.
        """
        given = [{**job._asdict(), "labels": dict(job.labels)} for job in jobs]
        rows = await self.connection.execute(_LOCK, {"jobs": orjson.dumps(given).decode()})
        covering = rows.mappings().all()
        if not covering:
            return []
        return await self.states(
            [_budget(row) for row in covering], max(row["now"] for row in covering)
        )

    async def states(self, budgets: Sequence[Budget], now: datetime) -> list[BudgetState]:
        """What counts against each in its present period."""
        periods = [period_of(budget.period, now) for budget in budgets]
        asked = [question(*pair) for pair in zip(budgets, periods, strict=True)]
        sums = await SpendingRepository[Reads](self.connection).sums(asked)
        return [
            BudgetState(budget=budget, period=period, spending=sums[budget.id])
            for budget, period in zip(budgets, periods, strict=True)
        ]

    async def alert(self: "BudgetRepository[Transacts]", state: BudgetState) -> list[int]:
        """Remember the thresholds that are reached; those that were not told in this period."""
        values = {
            "id": state.budget.id,
            "start": state.period.start,
            "spent": state.spending.total,
            "marks": state.reached(),
        }
        return sorted((await self.connection.execute(_ALERT, values)).scalars())

    async def forget_alerts(self: "BudgetRepository[Transacts]", state: BudgetState) -> None:
        """After a change: what is not reached any more is told again once it is."""
        await self.connection.execute(
            delete(BudgetAlertRow).where(
                BudgetAlertRow.budget_id == state.budget.id,
                BudgetAlertRow.threshold.not_in(state.reached()),
            )
        )


def _by_id(budget_id: str) -> Select[Any]:
    return select(BudgetRow.__table__).where(BudgetRow.id == budget_id)


def question(budget: Budget, period: Period) -> Question:
    """What is asked of the books for a budget."""
    return Question(budget.id, budget.scope.value, budget.scope_value, period)


def _wanted(budget: Budget) -> Budget:
    """What somebody wanted of it."""
    return budget.model_copy(update={"usd_rate": Decimal(1), "updated_at": budget.created_at})


def _values(budget: Budget) -> dict[str, Any]:
    return {
        "id": budget.id,
        "name": budget.name,
        "scope": budget.scope.value,
        "scope_value": budget.scope_value,
        "period": budget.period and budget.period.value,
        "action": budget.action.value,
        "amount": budget.amount.amount,
        "currency": budget.amount.currency,
        "usd_rate": budget.usd_rate,
        "enabled": budget.enabled,
    }


def _budget(row: Row) -> Budget:
    return Budget(
        id=row["id"],
        name=row["name"],
        scope=BudgetScope(row["scope"]),
        scope_value=row["scope_value"],
        period=row["period"] and BudgetPeriod(row["period"]),
        action=BudgetAction(row["action"]),
        amount=Money(amount=row["amount"], currency=row["currency"]),
        usd_rate=row["usd_rate"],
        enabled=row["enabled"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
