"""Budgets, once a minute: their rates, alerts, and the end of jobs that take one over."""

import structlog
from temporalio import activity

from activities.contracts import BudgetsResult
from activities.events import announce, outcome_data, state_event
from activities.jobs.placement import move
from cortex.db.engine import Database, Transaction
from cortex.db.money.budgets import question
from cortex.domain.events import EventType, NewEvent
from cortex.domain.jobs import Job, Outcome, Reason
from cortex.domain.money.budgets import BudgetState, to_stop
from cortex.domain.states import JobState
from cortex.services.jobs.admission import usd_rates

_log = structlog.get_logger(__name__)


class BudgetActivities:
    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def check_budgets(self) -> BudgetsResult:
        """Follow the rates, tell the thresholds that are reached, stop what is too much.

        Each budget is looked at for itself, with what was stopped for those before it.
        """
        await self._follow_rates()
        async with self._database.reading() as tx:
            budgets = [budget for budget in await tx.budgets.all() if budget.enabled]
        alerts, stopped = 0, 0
        for budget in budgets:
            async with self._database.transaction() as tx:
                if not await tx.budgets.hold(budget):
                    continue  # it was changed or removed meanwhile: the next look is at the new one
                state = (await tx.budgets.states([budget], await tx.spending.now()))[0]
                alerts += await _alert(tx, state)
            if budget.stops and state.left_usd < 0:
                stopped += await self._stop(state)
            activity.heartbeat()
        return BudgetsResult(budgets=len(budgets), alerts=alerts, stopped=stopped)

    async def _follow_rates(self) -> None:
        """The rate that is kept with a budget is that of the newest price sheets."""
        async with self._database.reading() as tx:
            rates = usd_rates(await tx.providers.all())
            budgets = await tx.budgets.all()
        for budget in budgets:
            rate = rates.get(budget.amount.currency)
            if rate is not None and rate > 0 and rate != budget.usd_rate:
                async with self._database.statement() as tx:
                    await tx.budgets.set_rate(budget, rate)

    async def _stop(self, state: BudgetState) -> int:
        asked = question(state.budget, state.period)
        async with self._database.reading() as tx:
            chosen = to_stop(state, await tx.spending.burdens(asked))
        message = f"budget {state.budget} is used up: {_sum(state)}"
        stopped = 0
        for job_id in chosen:
            async with self._database.transaction() as tx:
                await tx.jobs.lock(job_id)
                if not await tx.budgets.hold(state.budget):
                    break  # what it stops for is not so any more
                stopped += await stop_job(tx, job_id, message)
            activity.heartbeat()
        _log.info("budget.stopped", budget=state.budget.id, jobs=stopped)
        return stopped


async def stop_job(tx: Transaction, job_id: str, message: str) -> bool:
    """Have a job end as failed, `over_budget`; False if it ends already."""
    await tx.jobs.lock(job_id)
    moved = await tx.jobs.request_cancel(job_id, message=message)
    if moved is None:
        return False
    request = {"reason": message, "cause": Reason.OVER_BUDGET.value}
    await tx.events.add_many(
        [
            NewEvent.of_job(EventType.JOB_CANCEL_REQUESTED, job_id, request),
            state_event(job_id, JobState.CANCELLING, message=message),
        ]
    )
    if moved.held:
        await _end_held(tx, moved, message)
    else:
        await tx.commands.add(job_id, "cancel", request)
    return True


async def _end_held(tx: Transaction, job: Job, message: str) -> None:
    """A member that its group has not started has no workflow that could end it."""
    outcome = Outcome(state=JobState.FAILED, reason=Reason.OVER_BUDGET, message=message)
    await move(tx, job.id, JobState.SETTLING)
    await tx.jobs.finish(job.id, outcome)
    await announce(tx, job.id, outcome.state, **outcome_data(outcome))
    if job.group_id is not None:
        await tx.groups.nudge(job.group_id)


async def _alert(tx: Transaction, state: BudgetState) -> int:
    """Tell each threshold that is reached for the first time in the period."""
    marks = await tx.budgets.alert(state)
    for mark in marks:
        kind = EventType.BUDGET_EXCEEDED if mark >= 100 else EventType.BUDGET_ALERT
        await tx.events.add(kind, state.budget.id, data=_told(state, mark))
    return len(marks)


def _told(state: BudgetState, mark: int) -> dict[str, object]:
    budget, spending = state.budget, state.spending
    return {
        "name": budget.name,
        "covers": budget.whose(),
        "threshold": mark,
        "action": budget.action.value,
        "amount": str(budget.amount),
        "spent": str(budget.in_own(spending.charged)),
        "held": str(budget.in_own(spending.held)),
        "reserved": str(budget.in_own(spending.reserved)),
        "left": str(budget.in_own(state.left_usd)),
        "period": budget.period and budget.period.value,
        "period_start": state.period.start.isoformat() if budget.period else None,
        "period_end": state.period.end.isoformat() if budget.period else None,
        "message": f"{mark} % of budget {budget} are used: {_sum(state)}",
    }


def _sum(state: BudgetState) -> str:
    budget, spending = state.budget, state.spending
    return (
        f"{budget.in_own(spending.charged)} are spent, {budget.in_own(spending.held)} held for "
        f"leases and {budget.in_own(spending.reserved)} reserved for accepted jobs"
    )
