"""What the REST API says and takes about money: budgets, reports, forecasts."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from cortex.domain.accounts import USER_NAME
from cortex.domain.errors import wrong_field
from cortex.domain.money import COUNTED, QUANTUM, Money, format_amount
from cortex.domain.money.budgets import BudgetAction, BudgetPeriod, BudgetScope
from cortex.domain.money.ledger import EntryKind
from cortex.domain.names import LABEL, ONE_LINE, one_line
from cortex.schemas._view import View


def _positive(value: Money) -> Money:
    kept = value.billed()
    if kept.amount <= 0:
        raise ValueError("must be more than zero")
    if value.amount < QUANTUM:
        raise ValueError(f"must be at least {QUANTUM:f}, the least that is reckoned with")
    return kept


def _whose_jobs(message: str) -> ValidationError:
    return wrong_field("scope_value", message)


# Whose jobs it is about, by its scope.
_SCOPES: Final[list[Any]] = [
    {"properties": {"scope": {"const": "system"}, "scope_value": {"type": "null"}}},
    {
        "properties": {
            "scope": {"const": "user"},
            "scope_value": {"type": "string", "minLength": 1},
        },
        "required": ["scope", "scope_value"],
    },
    {
        "properties": {
            "scope": {"const": "project"},
            "scope_value": {"type": "string", "pattern": USER_NAME},
        },
        "required": ["scope", "scope_value"],
    },
    {
        "properties": {
            "scope": {"const": "label"},
            "scope_value": {"type": "string", "pattern": LABEL},
        },
        "required": ["scope", "scope_value"],
    },
]


Number = Annotated[Decimal, PlainSerializer(format_amount, return_type=str, when_used="json")]
Amount = Annotated[Money, AfterValidator(_positive), WithJsonSchema(COUNTED)]
Name = Annotated[
    str,
    Field(max_length=80),
    AfterValidator(one_line),
    WithJsonSchema({"type": "string", "pattern": ONE_LINE, "minLength": 1, "maxLength": 80}),
]


class BudgetCreate(BaseModel):
    """A budget: what the jobs of a scope may cost within a period, together."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"oneOf": _SCOPES})

    name: Name = Field(description="Stands in every message about it.")
    scope: BudgetScope = Field(
        default=BudgetScope.SYSTEM,
        description="All jobs, those of a user, those in a project, or those with a label.",
    )
    scope_value: str | None = Field(
        default=None,
        max_length=400,
        description="Name of the user or of the project, or the label as `key=value`.",
    )
    period: BudgetPeriod = Field(
        default=BudgetPeriod.MONTH, description="In UTC; weeks begin on Monday."
    )
    action: BudgetAction = Field(
        default=BudgetAction.ALERT,
        description="`alert` tells only; `stop` also refuses and stops jobs.",
    )
    amount: Amount = Field(description="Such as `100 USD`.")
    enabled: StrictBool = True

    @model_validator(mode="after")
    def _whose(self) -> Self:
        value = self.scope_value
        if self.scope is BudgetScope.SYSTEM and value is not None:
            raise _whose_jobs("is for the scopes `user`, `project` and `label` only")
        if self.scope is BudgetScope.KEY:
            raise wrong_field("scope", "cannot be `key`: the budget of an API key is made with it")
        if self.scope is BudgetScope.USER and not value:
            raise _whose_jobs("must name the user whose jobs it is about")
        if self.scope is BudgetScope.PROJECT and not re.fullmatch(USER_NAME, value or ""):
            raise _whose_jobs("must name the project whose jobs it is about")
        if self.scope is BudgetScope.LABEL and not re.fullmatch(LABEL, value or ""):
            raise _whose_jobs("must be a label as `key=value`")
        return self


class BudgetUpdate(BaseModel):
    """What to change of a budget. Whose jobs it is about stays: make another one for others."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    period: BudgetPeriod | None = None
    action: BudgetAction | None = None
    amount: Amount | None = None
    enabled: StrictBool | None = None

    def changes(self) -> dict[str, Any]:
        """What was given."""
        return {name: getattr(self, name) for name in self.model_fields_set if _given(self, name)}


def _given(model: BaseModel, name: str) -> bool:
    return getattr(model, name) is not None


class ForecastView(View):
    """What a period will have cost at its end, as far as that can be told now."""

    period: BudgetPeriod
    start: datetime
    end: datetime
    total: Money
    charged: Money = Field(description="Bills of the period.")
    so_far: Money = Field(description="What running jobs cost until now.")
    ahead: Money = Field(
        description="What they will cost until their deadlines or the period's end."
    )
    per_day: Money = Field(description="A usual day.")
    days: int = Field(description="Of how many ended days that is the mean.")
    usual: Money = Field(description="A usual day, for all the time that is left.")
    method: str


class BudgetView(View):
    """A budget and what counts against it now, in its own currency."""

    id: str
    name: str
    scope: BudgetScope
    scope_value: str | None = None
    period: BudgetPeriod
    action: BudgetAction
    amount: Money
    enabled: bool
    usd_rate: Number = Field(
        description="USD for one unit of its currency; follows the providers' price sheets."
    )
    period_start: datetime
    period_end: datetime
    spent: Money = Field(description="Bills of the period.")
    held: Money = Field(description="For leases that are not billed yet.")
    reserved: Money = Field(description="For accepted jobs that have no lease.")
    left: Money = Field(description="May still be set aside; below zero if it is over.")
    used: Number = Field(description="Spent, held and reserved as a part of the amount; 1: all.")
    forecast: ForecastView
    created_at: datetime
    updated_at: datetime


class CostRow(View):
    """One group of a report in one currency."""

    group: str = Field(description="Its keys, joined by ` / `.")
    keys: tuple[str, ...] = ()
    jobs: int
    charged: Money
    held: Money = Field(description="Set aside for leases that are not settled yet.")
    charged_usd: Number = Field(default=Decimal(0), description="At the rate of each entry.")
    held_usd: Number = Decimal(0)


class CostReport(View):
    group_by: str
    since: datetime | None = None
    until: datetime | None = None
    rows: tuple[CostRow, ...]
    total: tuple[Money, ...] = Field(description="One amount per currency.")
    total_usd: Number = Field(default=Decimal(0), description="At the rate of each entry.")


class LedgerView(View):
    id: str
    job_id: str
    lease_key: str
    provider_id: str
    kind: EntryKind
    amount: Money
    usd_rate: Decimal = Field(
        default=Decimal(1), description="USD for one unit of the currency, when it was booked."
    )
    note: str = ""
    created_at: datetime


class LedgerPage(View):
    items: tuple[LedgerView, ...]
    next_cursor: str | None = None
