"""Budgets: what the jobs of a scope may cost within a period, and how much of it is used.

All comparisons are in USD, by the rate that is kept with each entry and with each budget.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from cortex.domain.money import Money

THRESHOLDS: Final = (50, 80, 100)
"""Percent of a budget at which it is told, once per period each."""


class BudgetScope(StrEnum):
    """Whose jobs a budget covers."""

    SYSTEM = "system"
    USER = "user"
    PROJECT = "project"
    LABEL = "label"
    KEY = "key"
    """The jobs that were submitted with an API key: the budget that the key has, by its id."""


class BudgetPeriod(StrEnum):
    """After which a budget begins anew; in UTC, weeks from Monday as ISO 8601 has them."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class BudgetAction(StrEnum):
    """What happens when it is used up: it is told, or jobs are refused and stopped as well."""

    ALERT = "alert"
    STOP = "stop"


class Period(BaseModel):
    """From `start`, which belongs to it, until `end`, which does not."""

    model_config = ConfigDict(frozen=True)

    start: datetime
    end: datetime


_EVER: Final = Period(start=datetime(1970, 1, 1, tzinfo=UTC), end=datetime.max.replace(tzinfo=UTC))


def period_of(kind: BudgetPeriod | None, now: datetime) -> Period:
    """The period that a moment is in; without a kind all of time."""
    if kind is None:
        return _EVER
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if kind is BudgetPeriod.DAY:
        return Period(start=day, end=day + timedelta(days=1))
    if kind is BudgetPeriod.WEEK:
        start = day - timedelta(days=day.weekday())
        return Period(start=start, end=start + timedelta(days=7))
    start = day.replace(day=1)
    return Period(start=start, end=(start + timedelta(days=32)).replace(day=1))


class Covered(NamedTuple):
    """What of a job decides which budgets cover it."""

    owner: str
    project: str
    labels: Mapping[str, str]
    api_key: str | None = None


class Budget(BaseModel):
    """What may be spent within a period by the jobs of a scope.

    Attributes:
        period: None: it never begins anew.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    scope: BudgetScope
    scope_value: str | None = None
    period: BudgetPeriod | None
    action: BudgetAction
    amount: Money
    usd_rate: Decimal = Decimal(1)
    enabled: bool = True
    created_at: datetime
    updated_at: datetime

    @property
    def limit_usd(self) -> Decimal:
        return self.amount.amount * self.usd_rate

    @property
    def stops(self) -> bool:
        """Whether it refuses and stops jobs now."""
        return self.enabled and self.action is BudgetAction.STOP

    def covers(self, job: Covered) -> bool:
        """Whether it is about this job."""
        if self.scope is BudgetScope.SYSTEM:
            return True
        value = self.scope_value or ""
        if self.scope is BudgetScope.USER:
            return value == job.owner
        if self.scope is BudgetScope.PROJECT:
            return value == job.project
        if self.scope is BudgetScope.KEY:
            return value == job.api_key
        key, _, text = value.partition("=")
        return job.labels.get(key) == text

    def whose(self) -> str:
        """`all jobs`, `jobs of alice`, `jobs in project ml`, `jobs with team=ml`."""
        return f"{_WHOSE[self.scope]}{self.scope_value or ''}"

    def in_own(self, usd: Decimal) -> Money:
        """An amount of USD in the budget's own currency."""
        return Money(amount=usd / self.usd_rate, currency=self.amount.currency).rounded()

    def __str__(self) -> str:
        often = f"per {self.period}" if self.period else "in all"
        return f"`{self.name}` ({self.amount} {often} for {self.whose()})"


class Spending(BaseModel):
    """What counts against a budget, in USD."""

    model_config = ConfigDict(frozen=True)

    charged: Decimal = Decimal(0)
    """Bills of the period."""
    held: Decimal = Decimal(0)
    """Set aside for leases that are not billed yet, or what they cost already if that is more."""
    reserved: Decimal = Decimal(0)
    """Set aside for accepted jobs that have no lease."""

    @property
    def total(self) -> Decimal:
        return self.charged + self.held + self.reserved


class BudgetState(BaseModel):
    """A budget with what counts against it in its present period."""

    model_config = ConfigDict(frozen=True)

    budget: Budget
    period: Period
    spending: Spending

    @property
    def left_usd(self) -> Decimal:
        """What may still be set aside; below zero if it is over."""
        return self.budget.limit_usd - self.spending.total

    def refusal(self, usd: Decimal) -> str | None:
        """Why so much more may not be set aside; None if it may."""
        if usd <= 0 or usd <= self.left_usd:
            return None
        left, asked = max(self.left_usd, Decimal(0)), self.budget.in_own(usd)
        until = f" until {self.period.end:%Y-%m-%d %H:%M} UTC" if self.budget.period else ""
        return (
            f"budget {self.budget} has {self.budget.in_own(left)} left{until}, "
            f"and {asked} is asked for"
        )

    def reached(self) -> list[int]:
        """The thresholds that are reached."""
        limit = self.budget.limit_usd
        return [mark for mark in THRESHOLDS if self.spending.total * 100 >= limit * mark]


_WHOSE: Final = {
    BudgetScope.SYSTEM: "all jobs",
    BudgetScope.USER: "jobs of ",
    BudgetScope.PROJECT: "jobs in project ",
    BudgetScope.LABEL: "jobs with ",
    BudgetScope.KEY: "jobs of API key ",
}

Asked = tuple[Covered, Decimal]
"""A job, and the USD that are to be set aside for it."""


def first_refusal(states: Iterable[BudgetState], asked: Iterable[Asked]) -> str | None:
    """Why not all of this may be set aside: the first budget that has not enough left."""
    wanted = list(asked)
    for state in states:
        total = sum((usd for job, usd in wanted if state.budget.covers(job)), Decimal(0))
        why = state.refusal(total)
        if why is not None:
            return why
    return None


class Burden(BaseModel):
    """A job that has not ended, as a budget sees it."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    ending: bool
    """It is being stopped, or settles its bill, already."""
    frees: Decimal = Decimal(0)
    """What is set aside for it beyond what it has cost, in USD."""
    costs: bool = False
    """A lease of it costs money as time goes by."""


def to_stop(state: BudgetState, burdens: Iterable[Burden]) -> list[str]:
    """The jobs to stop so that a budget is kept again, in the order of the burdens.

    No more than are needed: what those free that are ending already comes first.
    """
    jobs = list(burdens)
    over = -state.left_usd - sum((job.frees for job in jobs if job.ending), Decimal(0))
    chosen: list[str] = []
    for job in jobs:
        if over <= 0:
            break
        if job.ending or not (job.frees > 0 or job.costs):
            continue
        chosen.append(job.job_id)
        over -= job.frees
    return chosen
