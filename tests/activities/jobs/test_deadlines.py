"""The step near the deadline, on the real database: told once, extended once, refused with why."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities.contracts import WarnInput, WarnResult
from activities.jobs.deadlines import DeadlineActivities
from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.db.providers.repository import Observation
from cortex.domain.events import Event, EventType
from cortex.domain.ids import new_id
from cortex.domain.jobs import Job
from cortex.domain.money import Money
from cortex.domain.money.budgets import Budget, BudgetAction, BudgetPeriod, BudgetScope
from cortex.domain.money.ledger import EntryKind
from cortex.domain.offers import Capabilities, Offer
from cortex.domain.providers.health import HealthRules
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState
from cortex.settings import JobSettings, Settings
from tests.support.rows import set_job

HOUR = timedelta(hours=1)
PRICE = Offer(provider_id="net", price_per_hour=Money(amount=Decimal("0.6"), currency="USD"))
AUTO = {"by": "1h", "up_to": "3h"}


class Case:
    """One running job that is about to meet its deadline."""

    def __init__(self, database: Database, max_duration: timedelta = timedelta(days=30)) -> None:
        self.database = database
        self.settings = Settings(jobs=JobSettings(max_duration=max_duration))
        self.job_id = new_id("job")
        self.key = f"{self.job_id}-1"

    async def run(self, **fields: Any) -> WarnInput:
        spec = JobSpec.model_validate({"command": ["true"], "duration": "1h", **fields})
        job = NewJob(self.job_id, "tester", spec)
        async with self.database.transaction() as tx:
            await tx.acceptance.store([job], [spec.model_dump(mode="json")], delay=timedelta(0))
            await tx.jobs.move(self.job_id, JobState.PLACING)
            await tx.jobs.move(self.job_id, JobState.DEPLOYING)
            await tx.leases.add(self.key, self.job_id, 1, offer=PRICE)
            await tx.leases.move(self.key, LeaseState.RESERVED)
            lease = await tx.leases.move(self.key, LeaseState.ACTIVE)
            assert lease is not None
            await tx.ledger.add(lease, EntryKind.HOLD, PRICE.estimate(spec.duration))
            deadline = datetime.now(UTC) + timedelta(minutes=10)
            await tx.jobs.move(self.job_id, JobState.RUNNING)
            await set_job(tx, self.job_id, deadline_at=deadline)
        return WarnInput(job_id=self.job_id, lease_key=self.key, deadline_at=deadline)

    async def warn(self, warning: WarnInput) -> WarnResult:
        """In a worker that knows nothing."""
        return await DeadlineActivities(self.database, self.settings).warn(warning)

    async def job(self) -> Job:
        async with self.database.transaction() as tx:
            return await tx.jobs.get(self.job_id)

    async def events(self, kind: EventType) -> list[Event]:
        async with self.database.transaction() as tx:
            page = await tx.events.page(None, job_id=self.job_id)
        return [event for event in page if event.type == kind]

    async def holds(self) -> list[Decimal]:
        async with self.database.transaction() as tx:
            return [entry.amount.amount for entry in await tx.ledger.page(job_id=self.job_id)]


@pytest.fixture
def case(database: Database) -> Case:
    return Case(database)


class TestWarning:
    async def test_is_written_once_however_often_it_is_tried(self, case: Case) -> None:
        warning = await case.run()
        results = await asyncio.gather(*(case.warn(warning) for _ in range(5)))
        assert {result.deadline_at for result in results} == {warning.deadline_at}
        (event,) = await case.events(EventType.JOB_DEADLINE_NEAR)
        assert event.data["left"] in ("10m", "9m59s", "9m58s")
        assert event.data["not_extended"] == ""
        assert "cortex extend" in event.data["next"]
        assert (await case.job()).warned_at is not None

    async def test_is_not_told_of_a_deadline_that_has_moved(self, case: Case) -> None:
        warning = await case.run()
        later = warning.deadline_at + HOUR
        async with case.database.transaction() as tx:
            await set_job(tx, case.job_id, deadline_at=later)
        assert (await case.warn(warning)).deadline_at == later
        assert not await case.events(EventType.JOB_DEADLINE_NEAR)

    async def test_is_not_told_of_a_job_that_is_being_stopped(self, case: Case) -> None:
        warning = await case.run(auto_extend=AUTO)
        async with case.database.transaction() as tx:
            await tx.jobs.move(case.job_id, JobState.CANCELLING)
        await case.warn(warning)
        assert not await case.events(EventType.JOB_DEADLINE_NEAR)
        assert not await case.events(EventType.JOB_EXTENDED)

    async def test_is_not_told_of_a_lease_that_has_ended(self, case: Case) -> None:
        warning = await case.run(auto_extend=AUTO)
        async with case.database.transaction() as tx:
            await tx.leases.move(case.key, LeaseState.LOST)
        await case.warn(warning)
        assert not await case.events(EventType.JOB_DEADLINE_NEAR)
        assert not await case.events(EventType.JOB_EXTENDED)


class TestExtendedByItself:
    async def test_once_however_often_it_is_tried(self, case: Case) -> None:
        warning = await case.run(auto_extend=AUTO)
        results = await asyncio.gather(*(case.warn(warning) for _ in range(5)))
        assert {result.deadline_at for result in results} == {warning.deadline_at + HOUR}
        (event,) = await case.events(EventType.JOB_EXTENDED)
        assert event.data["auto"] is True
        assert (event.data["by"], event.data["hold"]) == ("1h", "0.6 USD")
        assert await case.holds() == [Decimal("0.6"), Decimal("0.6")]
        assert (await case.job()).extension == HOUR
        assert not await case.events(EventType.JOB_DEADLINE_NEAR)

    async def test_again_at_each_deadline_until_the_whole_is_reached(self, case: Case) -> None:
        warning = await case.run(auto_extend={"by": "1h30m", "up_to": "3h"})
        for by in (timedelta(minutes=90), timedelta(minutes=30)):
            deadline = (await case.warn(warning)).deadline_at
            assert deadline == warning.deadline_at + by
            warning = warning.model_copy(update={"deadline_at": deadline})
        assert (await case.warn(warning)).deadline_at == warning.deadline_at
        assert len(await case.events(EventType.JOB_EXTENDED)) == 2
        (event,) = await case.events(EventType.JOB_DEADLINE_NEAR)
        assert event.data["not_extended"] == "`auto_extend.up_to` is 3h"

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"budget": "1 USD"}, "over its budget of 1 USD"),
            ({"budget": "1 EUR"}, "cannot be compared"),
        ],
    )
    async def test_not_over_its_budget(self, case: Case, fields: dict[str, str], why: str) -> None:
        warning = await case.run(auto_extend=AUTO, **fields)
        for _ in range(2):
            assert (await case.warn(warning)).deadline_at == warning.deadline_at
        await self._only_warned(case, why)

    async def test_not_over_what_the_server_allows(self, database: Database) -> None:
        case = Case(database, max_duration=timedelta(minutes=90))
        await case.warn(await case.run(auto_extend=AUTO))
        await self._only_warned(case, "this server allows 1h30m, so at most 30m more")

    async def test_not_over_what_the_provider_allows(self, case: Case) -> None:
        limit = Capabilities(images=True, processes=True, max_duration=timedelta(minutes=90))
        async with case.database.transaction() as tx:
            await tx.providers.declare("net", "null")
            observation = Observation("good", capabilities=limit)
            await tx.providers.observe("net", observation, HealthRules())
        await case.warn(await case.run(auto_extend=AUTO))
        await self._only_warned(case, "provider `net` allows 1h30m")

    async def test_not_over_a_budget_that_stops(self, case: Case) -> None:
        warning = await case.run(auto_extend=AUTO)
        now = datetime.now(UTC)
        one = Money(amount=Decimal(1), currency="USD")
        budget = Budget(
            id=new_id("bud"),
            name="tight",
            scope=BudgetScope.SYSTEM,
            period=BudgetPeriod.DAY,
            action=BudgetAction.STOP,
            amount=one,
            created_at=now,
            updated_at=now,
        )
        async with case.database.transaction() as tx:
            await tx.budgets.add(budget)
        await case.warn(warning)
        await self._only_warned(case, "budget `tight`")

    async def _only_warned(self, case: Case, why: str) -> None:
        (event,) = await case.events(EventType.JOB_DEADLINE_NEAR)
        assert why in event.data["not_extended"]
        assert why in event.data["next"]
        assert not await case.events(EventType.JOB_EXTENDED)
        assert await case.holds() == [Decimal("0.6")]
        assert not (await case.job()).extension
