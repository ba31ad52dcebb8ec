"""How budgets and forecasts look."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from cli import render
from cli.state import State
from cortex.domain.money import Money
from cortex.domain.money.budgets import BudgetAction, BudgetScope
from cortex.schemas.money import BudgetView, ForecastView

_COLUMNS = (
    "ID",
    "NAME",
    "JOBS",
    "PERIOD",
    "ACTION",
    "AMOUNT",
    "SPENT",
    "HELD",
    "RESERVED",
    "LEFT",
    "USED",
    "FORECAST",
)


def listed(state: State, budgets: Sequence[BudgetView]) -> None:
    """A table, one budget a line."""
    rows = [_row(budget) for budget in budgets]
    render.table(state, _COLUMNS, rows, right=range(5, 12), spare=(0, 8, 7, 4))


def shown(state: State, budget: BudgetView) -> None:
    """One budget in full."""
    day = "%Y-%m-%d %H:%M"
    render.fields(
        state,
        [
            ("id", budget.id),
            ("name", budget.name),
            ("covers", _whose(budget)),
            ("action", _action(budget)),
            ("amount", f"{budget.amount} per {budget.period}"),
            ("period", f"{budget.period_start:{day}} to {budget.period_end:{day}} UTC"),
            ("rate", _rate(budget)),
            ("spent", str(budget.spent)),
            ("held", f"{budget.held} for leases that are not billed yet"),
            ("reserved", f"{budget.reserved} for accepted jobs without a lease"),
            ("left", str(budget.left)),
            ("used", f"{budget.used:.0%}"),
            ("forecast", outlook(budget.forecast)),
            ("method", budget.forecast.method),
        ],
    )


def outlook(forecast: ForecastView) -> str:
    """The forecast in one sentence, with its parts."""
    parts = [f"charged {_short(forecast.charged)}", f"running {_short(forecast.so_far)} so far"]
    if forecast.ahead.amount:
        parts.append(f"{_short(forecast.ahead)} to their deadlines")
    if forecast.days:
        days = "day" if forecast.days == 1 else f"{forecast.days} days"
        parts.append(f"a usual day {_short(forecast.per_day)} (mean of the last {days})")
    return (
        f"expected by the end of the {forecast.period} "
        f"({forecast.end:%Y-%m-%d} UTC): {_short(forecast.total)} ({', '.join(parts)})"
    )


def _row(budget: BudgetView) -> tuple[str, ...]:
    return (
        budget.id,
        budget.name,
        _whose(budget),
        budget.period.value,
        _action(budget),
        str(budget.amount),
        *(_short(amount) for amount in (budget.spent, budget.held, budget.reserved, budget.left)),
        f"{budget.used:.0%}",
        _short(budget.forecast.total),
    )


def _whose(budget: BudgetView) -> str:
    if budget.scope is BudgetScope.SYSTEM:
        return "all"
    return f"{_OF.get(budget.scope, '')}{budget.scope_value}"


def _action(budget: BudgetView) -> str:
    if not budget.enabled:
        return "off"
    return "stop" if budget.action is BudgetAction.STOP else "alert"


def _rate(budget: BudgetView) -> str:
    currency = budget.amount.currency
    return "" if currency == "USD" else f"1 {currency} = {budget.usd_rate:f} USD"


def _short(amount: Money) -> str:
    """For tables: no more than six digits behind the point."""
    rounded = amount.amount.quantize(Decimal("0.000001"))
    return str(Money(amount=rounded, currency=amount.currency))


_OF: Final = {BudgetScope.USER: "of ", BudgetScope.PROJECT: "in "}
