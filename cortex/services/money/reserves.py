"""How much is set aside for a job when it is accepted, and whether the budgets allow it."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from cortex.db.engine import Transaction
from cortex.db.jobs.repository import NewJob
from cortex.db.providers.repository import StoredProvider
from cortex.domain.errors import BudgetUsedUp, FieldError
from cortex.domain.jobs import Job
from cortex.domain.money.budgets import BudgetState, first_refusal
from cortex.domain.spec import JobSpec
from cortex.schemas.jobs import CostEstimate
from cortex.services.jobs.admission import usd_rates

_MICRO: Final = timedelta(microseconds=1)


def upper_bound(
    spec: JobSpec, estimates: Sequence[CostEstimate], providers: Sequence[StoredProvider]
) -> Decimal:
    """The USD that are set aside for a job.

    Its own `budget` where it has one; else the highest estimate, for its whole duration, among the
    providers that can run it. One that has told no prices cannot count: what its offer costs more
    is asked for when it is taken.
    """
    if spec.budget is not None:
        return spec.budget.in_usd(usd_rates(providers)[spec.budget.currency])
    rates = {provider.id: provider.prices.usd_rate for provider in providers if provider.prices}
    return max(
        (estimate.most.in_usd(rates[estimate.provider_id]) for estimate in estimates),
        default=Decimal(0),
    )


def require_room(
    states: Sequence[BudgetState], jobs: Sequence[NewJob], bounds: Sequence[Decimal]
) -> None:
    """Go on only if every one of the locked budgets has enough left for its jobs.

    Raises:
        BudgetUsedUp: names the budget, what is left and what is asked for.
    """
    asked = [(job.covered, usd) for job, usd in zip(jobs, bounds, strict=True)]
    why = first_refusal(states, asked)
    if why is not None:
        what = "the job is" if len(jobs) == 1 else f"the {len(jobs)} jobs are"
        raise BudgetUsedUp(
            f"{what} not accepted: {why}", errors=[FieldError(field="budget", message=why)]
        )


async def allow_extension(
    tx: Transaction, job: Job, duration: timedelta, hold: Decimal | None
) -> None:
    """Ask the budgets for what an extension may cost; they stay locked until the caller commits.

    Args:
        tx: Has the job's lock.
        job: As it is before.
        duration: How much longer.
        hold: USD that the caller will hold more for its lease; None: it has none, so that its
            reserve grows in proportion (with a `budget` of its own that is reserved already).

    Raises:
        BudgetUsedUp: names the budget, what is left and what is asked for.
    """
    more, reserve = hold, None
    if hold is None:
        reserve = await tx.reserves.of(job.id)
        if not reserve or job.spec.budget is not None:
            return
        length = job.spec.duration + job.extension
        more = reserve * Decimal(duration // _MICRO) / Decimal(length // _MICRO)
    states = await tx.budgets.lock_covering([job.covered])
    why = first_refusal(states, [(job.covered, more or Decimal(0))])
    if why is not None:
        raise BudgetUsedUp(
            f"job `{job.id}` is not extended: {why}",
            errors=[FieldError(field="duration", message=why)],
        )
    if reserve is not None:
        await tx.reserves.put(job.id, reserve + (more or Decimal(0)))
