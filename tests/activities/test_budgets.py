"""What a look at the budgets writes down: the rate of their currency, thresholds that are told."""

from decimal import Decimal

from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.budgets import BudgetActivities
from activities.contracts import BudgetsResult
from cortex.db.engine import Database
from cortex.domain.money import Money
from cortex.domain.money.budgets import Budget, BudgetAction
from cortex.domain.offers import PriceSheet
from cortex.domain.rights import Principal, Role
from cortex.schemas.money import BudgetUpdate
from cortex.services.money.budgets import Budgets
from cortex.services.providers.queries import ProviderRegistry
from tests.support.budgets import add_budget
from tests.support.providers import known_provider

ANNE = Principal(name="anne", role=Role.BILLING)


async def look(database: Database) -> BudgetsResult:
    result: BudgetsResult = await ActivityEnvironment().run(
        BudgetActivities(database).check_budgets
    )
    return result


async def quote(database: Database, rate: str) -> None:
    sheet = PriceSheet(currency="AKT", cpu_hour=Decimal(1), usd_rate=Decimal(rate))
    async with database.transaction() as tx:
        await known_provider(tx, "akash", "akash", prices=sheet)


async def kept(database: Database, budget: Budget) -> Decimal:
    async with database.reading() as tx:
        return (await tx.budgets.get(budget.id)).usd_rate


async def told(database: Database) -> list[int]:
    query = "SELECT (data->>'threshold')::int FROM events WHERE type LIKE 'budget.%' AND "
    query += "type <> 'budget.changed' ORDER BY seq"
    async with database.reading() as tx:
        return list((await tx.connection.execute(text(query.replace("::", "\\:\\:")))).scalars())


async def test_the_rate_follows_the_price_sheets(database: Database) -> None:
    budget = await add_budget(database, "10 AKT", usd_rate="0.5")
    in_usd = await add_budget(database, "10 USD")
    await quote(database, "0.4")
    await look(database)
    assert (await kept(database, budget), await kept(database, in_usd)) == (
        Decimal("0.4"),
        Decimal(1),
    )
    # One that is not known, or makes no sense, changes nothing.
    await quote(database, "0")
    await look(database)
    assert await kept(database, budget) == Decimal("0.4")


async def test_thresholds_are_told_again_after_a_change_only(database: Database) -> None:
    budget = await add_budget(database, "10 USD", action=BudgetAction.ALERT)
    async with database.transaction() as tx:
        await tx.connection.execute(
            text(
                "INSERT INTO jobs (id, name, owner, spec, state) VALUES ('job_1', 'x', 'x', "
                "'{}', 'pending')"
            )
        )
        await tx.reserves.put("job_1", Decimal(9))
    assert (await look(database)).alerts == 2
    assert (await look(database)).alerts == 0
    assert await told(database) == [50, 80]
    budgets = Budgets(database, ProviderRegistry(database))
    larger = BudgetUpdate(amount=Money.model_validate("16 USD"))
    await budgets.update(budget.id, larger, ANNE)
    assert (await look(database)).alerts == 0  # 50 % is told, 80 % is not reached
    smaller = BudgetUpdate(amount=Money.model_validate("9 USD"))
    await budgets.update(budget.id, smaller, ANNE)
    assert (await look(database)).alerts == 2
    assert await told(database) == [50, 80, 80, 100]


async def test_one_that_is_off_says_nothing(database: Database) -> None:
    budget = await add_budget(database, "10 USD")
    async with database.transaction() as tx:
        await tx.budgets.put(budget.model_copy(update={"enabled": False}))
    assert (await look(database)).budgets == 0
