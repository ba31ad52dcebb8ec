"""Budgets: made, changed, removed and shown with what counts against them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from cortex.db.engine import Database, Reading, Transaction
from cortex.db.money.budgets import question
from cortex.db.money.spending import Question
from cortex.domain.audit import changed_values
from cortex.domain.errors import FieldError, InvalidRequest, NotFound
from cortex.domain.events import EventType
from cortex.domain.ids import new_id
from cortex.domain.money import Money, format_amount
from cortex.domain.money.budgets import (
    Budget,
    BudgetPeriod,
    BudgetScope,
    BudgetState,
    period_of,
)
from cortex.domain.money.forecast import METHOD, Facts, outlook
from cortex.domain.rights import Action, Principal
from cortex.domain.versions import ANY_VERSION, Expected, version_of
from cortex.schemas.money import BudgetCreate, BudgetUpdate, BudgetView, ForecastView
from cortex.services.jobs.admission import usd_rates
from cortex.services.providers.queries import ProviderRegistry


class Budgets:
    """Changes and shows budgets. Who may is the business of the route."""

    def __init__(self, database: Database, registry: ProviderRegistry) -> None:
        self._database = database
        self._registry = registry

    async def create(self, wanted: BudgetCreate, by: Principal) -> BudgetView:
        """Add a budget; it counts from the begin of its present period.

        Raises:
            InvalidRequest: no rate of its currency is known.
        """
        rate = await known_rate(self._registry, wanted.amount.currency)
        async with self._database.transaction() as tx:
            now = await tx.spending.now()
            budget = Budget(
                id=new_id("bud"),
                usd_rate=rate,
                created_at=now,
                updated_at=now,
                **{name: getattr(wanted, name) for name in BudgetCreate.model_fields},
            )
            await tx.budgets.add(budget)
            await _tell(tx, budget, "create", by, {}, _values(budget))
        return await self.get(budget.id)

    async def update(
        self,
        budget_id: str,
        change: BudgetUpdate,
        by: Principal,
        expected: Expected = ANY_VERSION,
    ) -> BudgetView:
        """Change a budget. Lowered below what is used, one that stops jobs does so soon.

        Raises:
            NotFound: there is no such budget.
            PreconditionFailed: it is not at the expected version.
            InvalidRequest: no rate of its currency is known.
        """
        changes = change.changes()
        if change.amount is not None:
            changes["usd_rate"] = await known_rate(self._registry, change.amount.currency)
        async with self._database.transaction() as tx:
            before = _of_its_own(await tx.budgets.lock(budget_id))
            expected.require(budget_version(before), f"budget `{budget_id}`")
            budget = before.model_copy(update=changes)
            if budget != before:
                await tx.budgets.put(budget)
                now = await tx.spending.now()
                await tx.budgets.forget_alerts((await tx.budgets.states([budget], now))[0])
                old, new = changed_values(_values(before), _values(budget))
                await _tell(tx, budget, "update", by, old, new)
        return await self.get(budget_id)

    async def remove(self, budget_id: str, by: Principal, expected: Expected = ANY_VERSION) -> None:
        """Remove a budget. What was reserved under it stays so for others that cover the job.

        Raises:
            NotFound: there is no such budget.
            PreconditionFailed: it is not at the expected version.
        """
        async with self._database.transaction() as tx:
            budget = _of_its_own(await tx.budgets.lock(budget_id))
            expected.require(budget_version(budget), f"budget `{budget_id}`")
            await tx.budgets.remove(budget_id)
            await _tell(tx, budget, "remove", by, _values(budget), {})

    async def get(self, budget_id: str, by: Principal | None = None) -> BudgetView:
        """One budget with what counts against it now.

        Raises:
            NotFound: there is none with this id, or none that `by` may see.
        """
        async with self._database.reading() as tx:
            budget = _of_its_own(await tx.budgets.get(budget_id))
            if by is not None and not _sees(by, budget):
                raise NotFound(f"there is no budget `{budget_id[:60]}`")
            return (await _views(tx, [budget]))[0]

    async def all(self, by: Principal | None = None) -> list[BudgetView]:
        """Every budget that `by` may see, the oldest first."""
        async with self._database.reading() as tx:
            budgets = [each for each in await tx.budgets.all() if each.period is not None]
            return await _views(tx, [each for each in budgets if by is None or _sees(by, each)])

    async def forecast(
        self, period: BudgetPeriod, projects: frozenset[str] | None = None
    ) -> ForecastView:
        """What jobs together will have cost at the end of the present period, in USD.

        All of them; with `projects` those in these.
        """
        scope = BudgetScope.SYSTEM if projects is None else BudgetScope.PROJECT
        value = None if projects is None else ",".join(sorted(projects))
        async with self._database.reading() as tx:
            now = await tx.spending.now()
            asked = Question("all", scope.value, value, period_of(period, now))
            facts = (await tx.spending.facts([asked]))[asked.id]
        return _forecast(facts, period, "USD", Decimal(1))


async def known_rate(registry: ProviderRegistry, currency: str, field: str = "currency") -> Decimal:
    """USD for one unit of the currency of a budget.

    Args:
        registry: Whose price sheets tell the rates.
        currency: Of the budget.
        field: What is wrong of the request if there is none.

    Raises:
        InvalidRequest: no rate of it is known.
    """
    rates = usd_rates(await registry.all())
    rate = rates.get(currency)
    if rate is None or rate <= 0:
        known = ", ".join(sorted(name for name, value in rates.items() if value > 0))
        message = f"`{currency}` has no known rate; known are {known}"
        raise InvalidRequest(
            f"the budget is not valid: `{field}` {message} (USD, and those of the providers' "
            "price sheets)",
            errors=[FieldError(field=field, message=message)],
        )
    return rate


def _of_its_own(budget: Budget) -> Budget:
    """The budget, if it is not that of an API key, which is shown and limited with the key.

    Raises:
        NotFound: it is.
    """
    if budget.period is None:
        raise NotFound(f"there is no budget `{budget.id[:60]}`")
    return budget


def _sees(by: Principal, budget: Budget) -> bool:
    """One sees those of one's projects, and the one of one's own jobs."""
    projects = by.projects(Action.MONEY_READ)
    if projects is None or (budget.scope is BudgetScope.PROJECT and budget.scope_value in projects):
        return True
    return budget.scope is BudgetScope.USER and budget.scope_value == by.name


def budget_version(budget: Budget | BudgetView) -> str:
    """The version of what people decide about it; its rate follows the price sheets by itself."""
    return version_of({name: str(getattr(budget, name)) for name in BudgetCreate.model_fields})


async def _views(tx: Reading, budgets: Sequence[Budget]) -> list[BudgetView]:
    if not budgets:
        return []
    states = await tx.budgets.states(budgets, await tx.spending.now())
    facts = await tx.spending.facts([question(each.budget, each.period) for each in states])
    return [_view(state, facts[state.budget.id]) for state in states]


def _view(state: BudgetState, facts: Facts) -> BudgetView:
    budget, spending = state.budget, state.spending
    if budget.period is None:
        raise ValueError("the budget of an API key is shown with the key")
    return BudgetView(
        period_start=state.period.start,
        period_end=state.period.end,
        spent=budget.in_own(spending.charged),
        held=budget.in_own(spending.held),
        reserved=budget.in_own(spending.reserved),
        left=budget.in_own(state.left_usd),
        used=(spending.total / budget.limit_usd).quantize(Decimal("0.0001")),
        forecast=_forecast(facts, budget.period, budget.amount.currency, budget.usd_rate),
        **budget.model_dump(),
    )


def _forecast(facts: Facts, period: BudgetPeriod, currency: str, rate: Decimal) -> ForecastView:
    span = period_of(period, facts.now)
    expected = outlook(facts, span)

    def money(usd: Decimal) -> Money:
        return Money(amount=usd / rate, currency=currency).rounded()

    return ForecastView(
        period=period,
        start=span.start,
        end=span.end,
        total=money(expected.total),
        charged=money(expected.charged),
        so_far=money(expected.so_far),
        ahead=money(expected.ahead),
        per_day=money(expected.per_day),
        days=expected.days,
        usual=money(expected.usual),
        method=METHOD,
    )


def _values(budget: Budget) -> dict[str, Any]:
    shown = budget.model_dump(mode="json", exclude={"id", "created_at", "updated_at"})
    return shown | {"amount": str(budget.amount), "usd_rate": format_amount(budget.usd_rate)}


async def _tell(
    tx: Transaction,
    budget: Budget,
    what: str,
    by: Principal,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """The audit entry and the event of a change."""
    await tx.audit.add(
        by, f"budget.{what}", budget.id, name=budget.name, before=before, after=after
    )
    data = {"change": what, "name": budget.name, "by": by.name, "values": after}
    await tx.events.add(EventType.BUDGET_CHANGED, budget.id, data=data)
