"""The routes about money: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from cortex.client._routes.call import V1, Call, Since, get, query, send
from cortex.client.encoding import quoted
from cortex.domain.money import Money
from cortex.domain.money.budgets import BudgetPeriod
from cortex.schemas.money import BudgetView, CostReport, ForecastView, LedgerPage

_BUDGETS: Final = TypeAdapter(tuple[BudgetView, ...])
_CSV: Final = ("format", "csv")


def ledger(job_id: str | None, limit: int, cursor: str | None) -> Call[LedgerPage]:
    return get(_ledger(job_id), LedgerPage, query(limit=limit, cursor=cursor))


def ledger_csv(job_id: str | None, since: Since | None, until: Since | None) -> Call[str]:
    params = (*query(job=job_id, since=since, until=until), _CSV)
    return Call("GET", f"{V1}/ledger", bytes.decode, params)


def costs(
    group_by: str, since: Since | None, until: Since | None, project: str | None = None
) -> Call[CostReport]:
    params = query(group_by=group_by, since=since, until=until, project=project)
    return get("/costs", CostReport, params)


def costs_csv(
    group_by: str, since: Since | None, until: Since | None, project: str | None = None
) -> Call[str]:
    params = (*query(group_by=group_by, since=since, until=until, project=project), _CSV)
    return Call("GET", f"{V1}/costs", bytes.decode, params)


def forecast(period: BudgetPeriod) -> Call[ForecastView]:
    return get("/costs/forecast", ForecastView, query(period=period.value))


def budgets() -> Call[tuple[BudgetView, ...]]:
    return Call("GET", f"{V1}/budgets", _BUDGETS.validate_json)


def budget(budget_id: str) -> Call[BudgetView]:
    return get(_budget(budget_id), BudgetView)


def create_budget(values: Mapping[str, Any]) -> Call[BudgetView]:
    return _send("POST", "/budgets", values, repeatable=False)


def update_budget(budget_id: str, values: Mapping[str, Any]) -> Call[BudgetView]:
    return _send("PATCH", _budget(budget_id), values)


def delete_budget(budget_id: str) -> Call[None]:
    # Not repeated by itself: the second answer would be that there is none.
    return Call("DELETE", V1 + _budget(budget_id), lambda _: None, repeatable=False)


def _ledger(job_id: str | None) -> str:
    return f"/jobs/{quoted(job_id, safe='')}/ledger" if job_id else "/ledger"


def _budget(budget_id: str) -> str:
    return f"/budgets/{quoted(budget_id, safe='')}"


def _send(
    method: str, path: str, values: Mapping[str, Any], *, repeatable: bool = True
) -> Call[BudgetView]:
    body = {name: _plain(value) for name, value in values.items() if value is not None}
    return send(method, path, BudgetView, body, repeatable=repeatable)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Money) else value
