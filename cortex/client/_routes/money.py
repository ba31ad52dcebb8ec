"""The routes about money: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter

from cortex.client._routes.jobs import Call, ModelT, Since, text_of
from cortex.client.encoding import encode, quoted
from cortex.client.streams import Params
from cortex.domain.money import Money
from cortex.domain.money.budgets import BudgetPeriod
from cortex.schemas.jobs import LedgerPage
from cortex.schemas.money import BudgetView, CostReport, ForecastView

_V1 = "/api/v1"
_JSON = {"Content-Type": "application/json"}
_BUDGETS: Final = TypeAdapter(tuple[BudgetView, ...])
_CSV: Final = ("format", "csv")


def ledger(job_id: str | None, *, limit: int, cursor: str | None) -> Call[LedgerPage]:
    return _get(_ledger(job_id), LedgerPage, _params(limit=limit, cursor=cursor))


def ledger_csv(job_id: str | None, since: Since | None, until: Since | None) -> Call[str]:
    params = (*_params(job=job_id, since=since, until=until), _CSV)
    return Call("GET", f"{_V1}/ledger", bytes.decode, params)


def costs(group_by: str, since: Since | None, until: Since | None) -> Call[CostReport]:
    return _get("/costs", CostReport, _params(group_by=group_by, since=since, until=until))


def costs_csv(group_by: str, since: Since | None, until: Since | None) -> Call[str]:
    params = (*_params(group_by=group_by, since=since, until=until), _CSV)
    return Call("GET", f"{_V1}/costs", bytes.decode, params)


def forecast(period: BudgetPeriod) -> Call[ForecastView]:
    return _get("/costs/forecast", ForecastView, _params(period=period.value))


def budgets() -> Call[tuple[BudgetView, ...]]:
    return Call("GET", f"{_V1}/budgets", _BUDGETS.validate_json)


def budget(budget_id: str) -> Call[BudgetView]:
    return _get(_budget(budget_id), BudgetView)


def create_budget(values: Mapping[str, Any]) -> Call[BudgetView]:
    return _send("POST", "/budgets", values, repeatable=False)


def update_budget(budget_id: str, values: Mapping[str, Any]) -> Call[BudgetView]:
    return _send("PATCH", _budget(budget_id), values)


def delete_budget(budget_id: str) -> Call[None]:
    # Not repeated by itself: the second answer would be that there is none.
    return Call("DELETE", _V1 + _budget(budget_id), lambda _: None, repeatable=False)


def _ledger(job_id: str | None) -> str:
    return f"/jobs/{quoted(job_id, safe='')}/ledger" if job_id else "/ledger"


def _budget(budget_id: str) -> str:
    return f"/budgets/{quoted(budget_id, safe='')}"


def _get(path: str, model: type[ModelT], params: Params = ()) -> Call[ModelT]:
    return Call("GET", _V1 + path, model.model_validate_json, params)


def _send(
    method: str, path: str, values: Mapping[str, Any], *, repeatable: bool = True
) -> Call[BudgetView]:
    body = {name: _plain(value) for name, value in values.items() if value is not None}
    return Call(
        method,
        _V1 + path,
        BudgetView.model_validate_json,
        body=encode(body),
        headers=dict(_JSON),
        repeatable=repeatable,
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Money) else value


def _params(**values: str | int | Since | datetime | None) -> Params:
    return tuple((name, text_of(value)) for name, value in values.items() if value is not None)
