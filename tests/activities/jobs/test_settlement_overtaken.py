"""What was read, acted upon and then written: if it has changed meanwhile, nothing is written."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.budgets import BudgetActivities
from activities.contracts import BudgetsResult, LeaseInput, PlaceInput, PlaceResult
from activities.jobs.leasing import LeaseActivities
from activities.jobs.placement import PlacementActivities
from activities.jobs.settle_steps import SettleSteps
from activities.reconcile.late_bills import LateBills
from activities.runtime.breaker import Breakers
from activities.runtime.checkup import Checkup
from cortex.db.engine import Database
from cortex.db.providers.repository import Origin
from cortex.domain.errors import Conflict
from cortex.domain.jobs import Reason
from cortex.domain.money import Money
from cortex.domain.money.budgets import BudgetAction
from cortex.domain.offers import Offer, Usage
from cortex.domain.providers.circuit import CircuitRules
from cortex.domain.providers.health import HealthRules
from cortex.domain.rights import Principal, Role
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState
from cortex.schemas.money import BudgetUpdate
from cortex.services.money.budgets import Budgets
from cortex.services.providers.admin import ProviderAdmin
from cortex.services.providers.queries import ProviderRegistry
from cortex.settings import Settings
from providers.base import NetworkStatus, Reservation
from providers.null import NullConfig, NullProvider
from tests.faults.boundaries import Fault
from tests.faults.harness import Driver
from tests.faults.one_network import Network, OneFleet
from tests.faults.promise import rows
from tests.support import eventually
from tests.support.budgets import add_budget
from tests.support.rows import set_job, set_lease

BOSS = Principal(name="boss", role=Role.ADMIN)
RUNS = NullConfig(run_seconds=-1)


async def waits(database: Database, count: int = 1) -> bool:
    """Whether so many sessions of this database wait for a lock."""
    query = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    async with database.reading() as tx:
        return int((await tx.connection.execute(text(query))).scalar_one()) >= count


def driver_of(database: Database, folder: Path, network: Network) -> Driver:
    return Driver(database, network, Settings(data_dir=folder), Fault())


class Offering(NullProvider):
    """A network that others may act upon while it makes its offers."""

    meanwhile: Callable[[], Awaitable[None]]

    async def quote(self, spec: JobSpec) -> list[Offer]:
        offers = await super().quote(spec)
        await self.meanwhile()
        return offers


class TestPlacing:
    """The offers are collected outside of any transaction."""

    async def place(self, database: Database, folder: Path, act: str) -> tuple[PlaceResult, Driver]:
        network = Offering("null", RUNS)
        driver = Driver(database, network, Settings(data_dir=folder), Fault())
        await driver.accept()

        async def meanwhile() -> None:
            async with database.transaction() as tx:
                await tx.connection.execute(text(act))

        network.meanwhile = meanwhile
        steps = PlacementActivities(database, OneFleet(network), driver.settings)
        placing = PlaceInput(job_id=driver.job_id, attempt=1)
        placed: PlaceResult = await ActivityEnvironment().run(steps.place, placing)
        return placed, driver

    @pytest.mark.parametrize(
        "act",
        [
            "UPDATE providers SET enabled = false WHERE id = 'null'",
            "UPDATE providers SET configured = false WHERE id = 'null'",
            "DELETE FROM providers WHERE id = 'null'",
        ],
    )
    async def test_a_provider_that_takes_no_jobs_any_more_gets_none(
        self, database: Database, tmp_path: Path, act: str
    ) -> None:
        placed, driver = await self.place(database, tmp_path, act)
        assert placed.lease_key is None
        assert placed.reason == Reason.NO_CAPACITY
        assert placed.try_again
        assert "`null` takes no jobs any more" in placed.message
        assert await rows(database, "SELECT * FROM leases WHERE job_id = :job", driver.job_id) == []

    async def test_a_job_is_placed_or_its_provider_removed(
        self, database: Database, tmp_path: Path
    ) -> None:
        driver = await self.at(database, tmp_path)
        steps = PlacementActivities(database, OneFleet(driver.provider), driver.settings)
        attempt = PlaceInput(job_id=driver.job_id, attempt=1)
        async with database.transaction() as tx:
            await tx.jobs.lock(driver.job_id)  # the statement that places it waits for this
            placing = asyncio.create_task(ActivityEnvironment().run(steps.place, attempt))
            await eventually(lambda: waits(database), what="the placement waits")
            removing = asyncio.create_task(self.admin(database, driver).remove("null", BOSS))

            async def removed_or_waits() -> bool:
                return removing.done() or await waits(database, 2)

            await eventually(removed_or_waits, what="the removal")
        placed: PlaceResult = await placing
        (refused,) = await asyncio.gather(removing, return_exceptions=True)
        assert (placed.lease_key is not None) == isinstance(refused, Conflict)

    async def test_a_provider_that_got_a_job_first_is_not_removed(
        self, database: Database, tmp_path: Path
    ) -> None:
        driver = await self.at(database, tmp_path)
        (offer,) = await driver.provider.quote(JobSpec(command=("true",)))
        async with database.transaction() as tx:
            assert await tx.steps.intend(
                driver.job_id,
                f"{driver.job_id}-1",
                1,
                offer=offer,
                hold=offer.estimate(timedelta(hours=1)),
                extension=timedelta(0),
                message="",
                events=[],
            )
            removing = asyncio.create_task(self.admin(database, driver).remove("null", BOSS))
            await eventually(lambda: waits(database), what="the removal waits")
        with pytest.raises(Conflict, match="holds leases"):
            await removing

    async def at(self, database: Database, folder: Path) -> Driver:
        """A job, and a provider that the API manages."""
        driver = driver_of(database, folder, Network("null", RUNS))
        await driver.accept()
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE providers SET source = 'api'"))
        return driver

    def admin(self, database: Database, driver: Driver) -> ProviderAdmin:
        unused: Any = None  # a client: only checks of configurations ask workers
        return ProviderAdmin(database, unused, ProviderRegistry(database), driver.settings)


class TestBudgets:
    async def look(self, database: Database) -> BudgetsResult:
        steps = BudgetActivities(database)
        result: BudgetsResult = await ActivityEnvironment().run(steps.check_budgets)
        return result

    @pytest.mark.parametrize("change", ["removed", "raised", "switched off"])
    async def test_stops_no_job_for_a_budget_that_has_changed(
        self, database: Database, tmp_path: Path, change: str
    ) -> None:
        driver = driver_of(database, tmp_path, Network("null", RUNS))
        await driver.accept()
        async with database.transaction() as tx:
            await tx.reserves.put(driver.job_id, Decimal(9))
        budget = await add_budget(database, "1 USD", action=BudgetAction.STOP)
        budgets = Budgets(database, ProviderRegistry(database))
        async with database.transaction() as tx:
            await tx.jobs.lock(driver.job_id)
            looking = asyncio.create_task(self.look(database))
            await eventually(lambda: waits(database), what="the stop waits for the job")
            if change == "removed":
                await budgets.remove(budget.id, BOSS)
            elif change == "raised":
                raised = BudgetUpdate(amount=Money.model_validate("100 USD"))
                await budgets.update(budget.id, raised, BOSS)
            else:
                await budgets.update(budget.id, BudgetUpdate(enabled=False), BOSS)
        assert (await looking).stopped == 0
        (job,) = await rows(database, "SELECT state FROM jobs WHERE id = :job", driver.job_id)
        assert job["state"] == "pending"

    async def test_tells_no_threshold_of_a_budget_that_has_changed(
        self, database: Database, tmp_path: Path
    ) -> None:
        driver = driver_of(database, tmp_path, Network("null", RUNS))
        await driver.accept()
        async with database.transaction() as tx:
            await tx.reserves.put(driver.job_id, Decimal(9))
        budget = await add_budget(database, "1 USD", action=BudgetAction.ALERT)
        async with database.transaction() as tx:
            await tx.budgets.lock(budget.id)
            raised = budget.model_copy(update={"amount": Money.model_validate("100 USD")})
            await tx.budgets.put(raised)
            looking = asyncio.create_task(self.look(database))
            await eventually(lambda: waits(database), what="the look waits for the change")
        assert (await looking).alerts == 0


class Asked(NullProvider):
    """A network that others may act upon while it says how it is."""

    meanwhile: Callable[[], Awaitable[None]]

    async def network_status(self) -> NetworkStatus:
        status = await super().network_status()
        await self.meanwhile()
        return status


class TestHealth:
    async def test_what_the_old_configuration_said_is_not_said_of_the_new(
        self, database: Database
    ) -> None:
        provider = Asked("p", RUNS)
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("INSERT INTO providers (id, type, source) VALUES ('p', 'null', 'api')")
            )

        async def changed() -> None:
            async with database.transaction() as tx:
                assert await tx.managed.reconfigure(
                    "p", 1, {"config": {"x": 1}, "checked_at": None}
                )

        provider.meanwhile = changed
        checkup = Checkup(database, Breakers(database, CircuitRules()), HealthRules())
        await checkup.check(provider, origin=Origin({}, None))
        async with database.reading() as now:
            assert (await now.providers.get("p")).checked_at is None
        provider.meanwhile = lambda: asyncio.sleep(0)
        await checkup.check(provider, origin=Origin({"x": 1}, None))
        async with database.reading() as now:
            assert (await now.providers.get("p")).checked_at is not None


class TestLateBills:
    async def test_what_was_settled_by_hand_is_a_persons_to_change(
        self, database: Database, tmp_path: Path
    ) -> None:
        """Nothing is booked where nothing was to be booked, also if it never went live."""
        network = Network("null", RUNS)
        driver = driver_of(database, tmp_path, network)
        await driver.accept()
        steps = PlacementActivities(database, OneFleet(network), driver.settings)
        placing = PlaceInput(job_id=driver.job_id, attempt=1)
        placed: PlaceResult = await ActivityEnvironment().run(steps.place, placing)
        assert placed.lease_key is not None
        driver.lease_key = placed.lease_key
        await driver.settle_by_hand(Money.zero("USD"))
        async with database.transaction() as tx:
            await set_lease(tx, placed.lease_key, state=LeaseState.RELEASED.value, cost=0)
            lease = await tx.leases.get(placed.lease_key)
        bills = LateBills(database, network, timedelta(hours=1))
        usage = Usage(cost=Money.model_validate("0.5 USD"), final=True)
        told = await bills.after_orphan(lease, usage)
        assert "bills 0.5 USD" in told
        query = "SELECT * FROM ledger WHERE job_id = :job AND kind = 'charge'"
        assert await rows(database, query, driver.job_id) == []


class Talkative(Network):
    """Reports how far it is, also when nobody waits for it any more."""

    meanwhile: Callable[[], Awaitable[None]]

    async def prepare(self, spec: JobSpec, key: str, **given: Any) -> Reservation:
        await self.meanwhile()
        await given["report"]("pulling the image, 50 %")
        return await super().prepare(spec, key, **given)


class TestAfterTheEnd:
    """A step that was thought dead goes on: it writes nothing about a job that has ended."""

    async def test_a_report_of_a_reservation(self, database: Database, tmp_path: Path) -> None:
        network = Talkative("null", RUNS)
        driver = driver_of(database, tmp_path, network)

        async def ends() -> None:
            async with database.transaction() as tx:
                await tx.jobs.lock(driver.job_id)
                for state in (JobState.CANCELLING, JobState.SETTLING):
                    await tx.jobs.move(driver.job_id, state)
                await set_job(tx, driver.job_id, state="cancelled", message="over")
                await set_lease(tx, f"{driver.job_id}-1", state=LeaseState.RELEASED.value, cost=0)

        network.meanwhile = ends
        await driver.accept()
        placing = PlaceInput(job_id=driver.job_id, attempt=1)
        placed = await driver.step("place", placing, PlacementActivities)
        lease = LeaseInput(job_id=driver.job_id, lease_key=placed.lease_key, provider_id="null")
        with pytest.raises(ApplicationError, match="is released"):
            await driver.step("prepare", lease, LeaseActivities)
        (job,) = await rows(database, "SELECT message FROM jobs WHERE id = :job", driver.job_id)
        assert job["message"] == "over"
        query = "SELECT type FROM events WHERE job_id = :job AND type = 'job.progress'"
        assert await rows(database, query, driver.job_id) == []

    async def test_the_steps_of_a_settlement(self, database: Database, tmp_path: Path) -> None:
        """Of two tries one has booked; the call of the other fails after that."""
        network = Network("null", RUNS)
        driver = driver_of(database, tmp_path, network)
        await driver.accept()
        placing = PlaceInput(job_id=driver.job_id, attempt=1)
        placed = await driver.step("place", placing, PlacementActivities)
        async with database.transaction() as tx:
            lease = await tx.leases.get(placed.lease_key)
        steps = SettleSteps(database, lease)
        with contextlib.suppress(RuntimeError):
            async with steps.step("cancel"):
                async with database.transaction() as tx:
                    await set_lease(tx, lease.key, state=LeaseState.RELEASED.value, cost=0)
                raise RuntimeError("no answer")
        async with database.transaction() as tx:
            assert (await tx.leases.get(lease.key)).settle_steps == ()
