"""Money: amounts, the ledger, reports, budgets."""

import strawberry

from api.graphql.access import plain, shown
from api.graphql.scalars import Amount, Time
from cortex.domain.money.budgets import BudgetAction, BudgetPeriod, BudgetScope
from cortex.domain.money.ledger import EntryKind
from cortex.domain.rights import Action

for _choice in (BudgetAction, BudgetPeriod, BudgetScope, EntryKind):
    strawberry.enum(_choice)


@plain
@strawberry.type
class Money:
    amount: Amount
    currency: str


@plain
@strawberry.type(description="What a job with a running lease has cost until now, in USD.")
class CostSoFar:
    amount: Amount
    currency: str
    estimated: bool = strawberry.field(description="Reckoned as price times time.")
    as_of: Time | None


@shown(Action.MONEY_READ)
@strawberry.type(description="A hold, a charge or a release of the ledger.")
class LedgerEntry:
    id: strawberry.ID
    job_id: strawberry.ID
    lease_key: strawberry.ID
    provider_id: str
    kind: EntryKind
    amount: Money
    usd_rate: Amount
    note: str
    created_at: Time


@shown(Action.MONEY_READ)
@strawberry.type(description="One group of a report in one currency.")
class CostRow:
    group: str
    keys: list[str]
    jobs: int
    charged: Money
    held: Money
    charged_usd: Amount
    held_usd: Amount


@shown(Action.MONEY_READ)
@strawberry.type(description="What was charged and what is still held.")
class CostReport:
    group_by: str
    since: Time | None
    until: Time | None
    rows: list[CostRow]
    total: list[Money]
    total_usd: Amount


@shown(Action.MONEY_READ)
@strawberry.type(description="What a period will have cost at its end.")
class Forecast:
    period: BudgetPeriod
    start: Time
    end: Time
    total: Money
    charged: Money
    so_far: Money
    ahead: Money
    per_day: Money
    days: int
    usual: Money
    method: str


@shown(Action.MONEY_READ)
@strawberry.type(description="A budget and what counts against it now, in its own currency.")
class Budget:
    id: strawberry.ID
    name: str
    scope: BudgetScope
    scope_value: str | None
    period: BudgetPeriod
    action: BudgetAction
    amount: Money
    enabled: bool
    usd_rate: Amount
    period_start: Time
    period_end: Time
    spent: Money
    held: Money
    reserved: Money
    left: Money
    used: Amount
    forecast: Forecast
    created_at: Time
    updated_at: Time
    version: str = strawberry.field(description="For `ifVersion` of a change.")
