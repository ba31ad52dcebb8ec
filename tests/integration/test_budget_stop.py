"""A budget that is used up stops running jobs, the newest first; it tells so once."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from activities.contracts import BudgetsResult
from cortex.db.engine import Database
from cortex.domain.jobs import Job, Reason
from cortex.domain.money import Money
from cortex.domain.money.budgets import Budget, BudgetAction, BudgetScope
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState
from cortex.settings import BudgetSettings
from tests.integration import groups
from tests.integration.conftest import Stage, StageMaker
from tests.support import eventually
from tests.support.budgets import add_budget, state_of
from tests.support.rows import open_holds

PRICED = {"type": "null", "run_seconds": -1, "prices": {"cpu_hour": "1"}}
"""Runs until it is stopped; each job holds 1 USD."""


async def quiet_stage(make_stage: StageMaker, **changes: Any) -> Stage:
    """A stage whose schedule looks at midnight only, so that the test says when."""
    stage = await make_stage(net={**PRICED, **changes})
    rarely = BudgetSettings(check_every=timedelta(days=1))
    stage.settings = stage.settings.model_copy(update={"budgets": rarely})
    return stage


async def running(stage: Stage, count: int, **labels: str) -> list[str]:
    """So many running jobs, the oldest first."""
    jobs = [
        await stage.submit(resources={"cpu": 1}, duration="1h", labels=labels) for _ in range(count)
    ]

    async def all_run() -> bool:
        return all([(await stage.job(job)).state == JobState.RUNNING for job in jobs])

    await eventually(all_run, what="the start of all jobs")
    return jobs


async def look(stage: Stage) -> BudgetsResult:
    """As the schedule does every minute."""
    result: BudgetsResult = await stage.client.execute_workflow(
        "Budgets", id="budgets-now", task_queue="cortex", result_type=BudgetsResult
    )
    return result


async def change(database: Database, budget: Budget, amount: str) -> Budget:
    changed = budget.model_copy(update={"amount": Money.model_validate(amount)})
    async with database.transaction() as tx:
        await tx.budgets.put(changed)
    return changed


async def told(database: Database, budget: Budget) -> list[tuple[str, Any]]:
    async with database.reading() as tx:
        query = text(
            "SELECT type, data->'threshold' AS mark FROM events WHERE subject = :id ORDER BY seq"
        )
        rows = await tx.connection.execute(query, {"id": budget.id})
        return [(row.type, row.mark) for row in rows]


async def states(stage: Stage, jobs: list[str]) -> list[str]:
    return [(await stage.job(job)).state.value for job in jobs]


async def test_stops_the_newest_first_and_no_more_than_needed(make_stage: StageMaker) -> None:
    stage = await quiet_stage(make_stage)
    async with stage.worker():
        old, middle, new = await running(stage, 3)
        budget = await add_budget(stage.database, "2.5 USD")
        assert (await look(stage)).stopped == 1
        ended = await stage.ended(new)
        assert (ended.state, ended.reason) == (JobState.FAILED, Reason.OVER_BUDGET)
        assert "budget `team` (2.5 USD per month for all jobs) is used up" in ended.message
        assert await states(stage, [old, middle]) == ["running", "running"]
        assert (await look(stage)).stopped == 0
        # Lowered: now one of the two is too much, and it is the newer one.
        await change(stage.database, budget, "1.5 USD")
        assert (await look(stage)).stopped == 1
        assert (await stage.ended(middle)).reason == Reason.OVER_BUDGET
        assert await states(stage, [old]) == ["running"]
        await change(stage.database, budget, "0.000001 USD")
        assert (await look(stage)).stopped == 1
        last = await stage.ended(old)
        assert last.reason == Reason.OVER_BUDGET
        state = await state_of(stage.database, budget)
        assert (state.spending.held, state.spending.reserved) == (Decimal(0), Decimal(0))
        await settled_as_usual(stage, last)


async def settled_as_usual(stage: Stage, job: Job) -> None:
    async with stage.database.transaction() as tx:
        entries = await tx.ledger.page(job_id=job.id)
        assert await open_holds(tx) == []
    kinds = [entry.kind for entry in entries]
    assert sorted(kinds) == [EntryKind.CHARGE, EntryKind.HOLD, EntryKind.RELEASE]


async def test_only_jobs_that_it_covers(make_stage: StageMaker) -> None:
    stage = await quiet_stage(make_stage)
    async with stage.worker():
        covered = await running(stage, 1, team="ml")
        others = await running(stage, 1, team="web")
        await add_budget(stage.database, "0.1 USD", scope=BudgetScope.LABEL, value="team=ml")
        await add_budget(stage.database, "0.1 USD", scope=BudgetScope.USER, value="nobody")
        await add_budget(stage.database, "0.1 USD", action=BudgetAction.ALERT)
        assert (await look(stage)).stopped == 1
        assert (await stage.ended(covered[0])).reason == Reason.OVER_BUDGET
        assert await states(stage, others) == ["running"]
        async with stage.database.transaction() as tx:
            for budget in await tx.budgets.all():
                await tx.budgets.remove(budget.id)


async def test_tells_each_threshold_once_in_a_period(make_stage: StageMaker) -> None:
    stage = await quiet_stage(make_stage)
    async with stage.worker():
        await running(stage, 3)
        budget = await add_budget(stage.database, "5 USD", action=BudgetAction.ALERT)
        for _ in range(2):
            await look(stage)
        assert await told(stage.database, budget) == [("budget.alert", 50)]
        await running(stage, 2)
        for _ in range(2):
            await look(stage)
        assert (await told(stage.database, budget))[1:] == [
            ("budget.alert", 80),
            ("budget.exceeded", 100),
        ]


async def test_a_waiting_job_is_stopped_too(make_stage: StageMaker) -> None:
    """Its reserve counts, and it has no lease to be asked of."""
    stage = await quiet_stage(make_stage, enabled=False)
    async with stage.worker():
        job_id = await stage.submit(
            resources={"cpu": 1}, duration="1h", placement={"timeout": "1h"}
        )
        async with stage.database.transaction() as tx:
            await tx.reserves.put(job_id, Decimal(1))
        await add_budget(stage.database, "0.5 USD")
        assert (await look(stage)).stopped == 1
        ended = await stage.ended(job_id)
        assert (ended.state, ended.reason) == (JobState.FAILED, Reason.OVER_BUDGET)
        async with stage.database.reading() as tx:
            assert await tx.reserves.of(job_id) is None


async def test_the_schedule_looks_by_itself(make_stage: StageMaker) -> None:
    stage = await quiet_stage(make_stage)
    async with stage.worker():
        (job_id,) = await running(stage, 1)
        await add_budget(stage.database, "0.5 USD")
        await stage.client.get_schedule_handle("budgets").trigger()
        assert (await stage.ended(job_id)).reason == Reason.OVER_BUDGET


async def test_the_monitor_keeps_the_cost_so_far(make_stage: StageMaker) -> None:
    """Asked of the network itself; the final bill is its own all the same."""
    stage = await quiet_stage(make_stage, prices={"cpu_hour": "3600"})
    budgets = stage.settings.budgets.model_copy(update={"usage_every": timedelta(seconds=0.5)})
    stage.settings = stage.settings.model_copy(update={"budgets": budgets})
    async with stage.worker():
        # A dollar a second.
        job_id = await stage.submit(resources={"cpu": 1}, duration="1h")

        async def measured() -> bool:
            async with stage.database.reading() as tx:
                leases = await tx.leases.of_job(job_id)
            return bool(leases and leases[0].usage and leases[0].usage.amount > 1)

        await eventually(measured, what="the cost so far")
        async with stage.database.transaction() as tx:
            row = (await tx.leases.of_job(job_id))[0]
            estimated = await tx.connection.execute(
                text("SELECT usage_estimated FROM leases WHERE key = :key"), {"key": row.key}
            )
            assert estimated.scalar_one() is False
        await add_budget(stage.database, "3599.5 USD")
        assert (await look(stage)).stopped == 1
        ended = await stage.ended(job_id)
        assert ended.reason == Reason.OVER_BUDGET
        async with stage.database.transaction() as tx:
            (lease,) = await tx.leases.of_job(job_id)
        assert lease.cost is not None
        assert lease.cost.amount > 1


async def test_a_member_that_its_group_has_not_started_is_ended_too(
    make_stage: StageMaker,
) -> None:
    stage = await quiet_stage(make_stage)
    priced = {"resources": {"cpu": 1}, "duration": "1h"}
    async with stage.worker():
        group = await groups.submit(
            stage, [groups.job("first", **priced), groups.job("then", after=["first"], **priced)]
        )
        async with stage.database.transaction() as tx:
            await tx.reserves.put(group.members["then"], Decimal(1))
        await group.until("first", JobState.RUNNING)
        await add_budget(stage.database, "1.5 USD")
        assert (await look(stage)).stopped == 1
        then = await stage.ended(group.members["then"])
        assert (then.state, then.reason) == (JobState.FAILED, Reason.OVER_BUDGET)
        # By its rules the group ends all others when one of them fails.
        assert await group.ended() == "failed"
        assert (await group.job("first")).state == JobState.CANCELLED
