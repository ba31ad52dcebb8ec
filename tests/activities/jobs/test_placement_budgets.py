"""The hold takes the place of the reserve; what is asked for beyond it, the budgets must allow."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from activities.contracts import FinishInput, PlaceInput, PlaceResult
from activities.jobs.placement import PlacementActivities
from activities.runtime.fleet import Fleet
from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.domain.ids import new_id
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState
from cortex.settings import DatabaseSettings, Settings
from providers.null import NullConfig, NullProvider
from providers.registry import AnyProvider
from tests.support.budgets import add_budget, state_of

SPEC = JobSpec.model_validate({"command": ["x"], "duration": "1h"})


class Network(NullProvider):
    """Offers at one price per hour."""

    def __init__(self, provider_id: str, price: str, rate: str = "1") -> None:
        super().__init__(provider_id, NullConfig())
        self._price = Money.model_validate(price)
        self._rate = Decimal(rate)

    async def quote(self, spec: JobSpec) -> list[Offer]:
        return [Offer(provider_id=self.id, price_per_hour=self._price, usd_rate=self._rate)]


class Networks(Fleet):
    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = {network.id: network for network in networks}

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._networks)

    async def for_placement(self, provider_id: str) -> AnyProvider:
        return self._networks[provider_id]


class Desk:
    """Where jobs are accepted and placed."""

    def __init__(self, database: Database, *networks: Network) -> None:
        settings = Settings(
            database=DatabaseSettings(url=SecretStr("postgresql://unused")), data_dir=Path("unused")
        )
        self.database = database
        self._networks = networks
        self._steps = PlacementActivities(database, Networks(networks), settings)

    async def accept(self, reserve: str | None = None, spec: JobSpec = SPEC) -> str:
        job = NewJob(new_id("job"), "tester", spec)
        amount = None if reserve is None else Decimal(reserve)
        async with self.database.transaction() as tx:
            for network in self._networks:
                await tx.providers.declare(network.id, "null")
            await tx.acceptance.store(
                [job], [spec.model_dump(mode="json")], delay=timedelta(0), reserves=[amount]
            )
        return job.id

    async def place(self, job_id: str, attempt: int = 1) -> PlaceResult:
        return await self._steps.place(PlaceInput(job_id=job_id, attempt=attempt))

    async def finish(self, job_id: str) -> None:
        outcome = Outcome(state=JobState.FAILED, reason=Reason.OVER_BUDGET, message="no")
        await self._steps.finish(FinishInput(job_id=job_id, outcome=outcome))

    async def reserve(self, job_id: str) -> Decimal | None:
        async with self.database.reading() as tx:
            return await tx.reserves.of(job_id)

    async def bill(self, placed: PlaceResult, cost: str, *, final: bool = False) -> None:
        """Release the lease with this bill; the job goes on unless it is the last one."""
        assert placed.lease_key is not None
        async with self.database.transaction() as tx:
            held = await tx.steps.begin_release(
                placed.lease_key.rpartition("-")[0],
                placed.lease_key,
                settling=final,
                failure=None,
                message="",
                events=[],
            )
            money = Money(amount=Decimal(cost), currency=held.lease.offer.price_per_hour.currency)
            await tx.steps.book(
                held.lease,
                money,
                hold_currency=money.currency,
                usd_rate=None,
                charge=True,
                note="",
                decided=None,
                events=[],
            )


class TestHold:
    async def test_takes_the_place_of_the_reserve(self, database: Database) -> None:
        desk = Desk(database, Network("cheap", "2 USD"))
        budget = await add_budget(database, "5 USD")
        job_id = await desk.accept("5")
        placed = await desk.place(job_id)
        assert placed.provider_id == "cheap"
        spending = (await state_of(database, budget)).spending
        assert (spending.held, spending.reserved) == (Decimal(2), Decimal(0))
        assert await desk.reserve(job_id) == 0

    async def test_says_which_budget_has_how_much_left(self, database: Database) -> None:
        desk = Desk(database, Network("fits", "2 USD"), Network("dear", "9 USD"))
        await add_budget(database, "5 USD")
        job_id = await desk.accept("1")
        assert (await desk.place(job_id)).provider_id == "fits"
        other = await desk.accept("1")
        placed = await desk.place(other)
        assert placed.provider_id == "fits"
        last = await desk.place(await desk.accept("1"))
        assert last.reason == Reason.OVER_BUDGET
        assert "`team` (5 USD per month for all jobs) has 0 USD left" in last.message
        assert "the offer of `fits` may cost 2 USD" in last.message

    async def test_an_offer_that_does_not_fit_is_passed_over(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = SPEC.model_copy(
            update={"placement": SPEC.placement.model_copy(update={"strategy": "performance"})}
        )
        dear = Network("dear", "9 USD")
        fast = Offer(
            provider_id="dear",
            price_per_hour=Money.model_validate("9 USD"),
            performance=Decimal(100),
        )

        async def offers(_: JobSpec) -> list[Offer]:
            return [fast]

        monkeypatch.setattr(dear, "quote", offers)
        desk = Desk(database, dear, Network("fits", "2 USD"))
        unlimited = await desk.accept(spec=spec)
        assert (await desk.place(unlimited)).provider_id == "dear"
        await add_budget(database, "12 USD")
        assert (await desk.place(await desk.accept("1", spec))).provider_id == "fits"

    async def test_none_for_a_job_that_was_accepted_before_the_budget(
        self, database: Database
    ) -> None:
        desk = Desk(database, Network("only", "2 USD"))
        first, second = await desk.accept(), await desk.accept()
        await add_budget(database, "3 USD")
        assert (await desk.place(first)).lease_key is not None
        assert (await desk.place(second)).reason == Reason.OVER_BUDGET

    async def test_in_the_rate_of_the_offer(self, database: Database) -> None:
        desk = Desk(database, Network("akt", "2 AKT", rate="0.5"))
        budget = await add_budget(database, "3 USD")
        for _ in range(3):
            assert (await desk.place(await desk.accept("0"))).lease_key is not None
        assert (await state_of(database, budget)).left_usd == 0
        assert (await desk.place(await desk.accept("0"))).lease_key is None

    async def test_again_gives_the_same_and_holds_once(self, database: Database) -> None:
        desk = Desk(database, Network("only", "2 USD"))
        budget = await add_budget(database, "2 USD")
        job_id = await desk.accept("0")
        placed = await asyncio.gather(*(desk.place(job_id) for _ in range(4)))
        assert {result.lease_key for result in placed} == {f"{job_id}-1"}
        assert (await state_of(database, budget)).spending.held == 2

    @pytest.mark.parametrize("reserve", ["0", "1"])
    async def test_many_at_once_never_hold_a_cent_more(
        self, database: Database, reserve: str
    ) -> None:
        desk = Desk(database, Network("only", "2 USD"))
        jobs = [await desk.accept(reserve) for _ in range(20)]
        budget = await add_budget(database, "31 USD")
        placed = await asyncio.gather(*(desk.place(job_id) for job_id in jobs))
        held = [result for result in placed if result.lease_key]
        # Reserved for all 20 are 0 or 20: so many more are left for those who are first.
        assert len(held) == {"0": 15, "1": 11}[reserve]
        for result, job_id in zip(placed, jobs, strict=True):
            if result.lease_key is None:
                await desk.finish(job_id)
        state = await state_of(database, budget)
        assert state.spending.total == 2 * len(held)


class TestNextAttempt:
    async def test_what_is_left_of_the_hold_is_the_reserve_again(self, database: Database) -> None:
        desk = Desk(database, Network("only", "2 USD"))
        budget = await add_budget(database, "4 USD")
        job_id = await desk.accept("2")
        await desk.bill(await desk.place(job_id), "0.5")
        spending = (await state_of(database, budget)).spending
        assert (spending.charged, spending.held) == (Decimal("0.5"), Decimal(0))
        assert spending.reserved == Decimal("1.5")
        # The next attempt needs 0.5 more than that, which is left.
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("UPDATE jobs SET state = 'placing' WHERE id = :id"), {"id": job_id}
            )
        assert (await desk.place(job_id, 2)).lease_key == f"{job_id}-2"
        assert (await state_of(database, budget)).spending.total == Decimal("2.5")

    async def test_after_the_last_one_nothing_is_reserved(self, database: Database) -> None:
        desk = Desk(database, Network("only", "2 USD"))
        budget = await add_budget(database, "4 USD")
        job_id = await desk.accept("2")
        await desk.bill(await desk.place(job_id), "0.5", final=True)
        assert (await state_of(database, budget)).spending.total == Decimal("0.5")

    async def test_a_bill_above_the_hold_counts_in_full(self, database: Database) -> None:
        desk = Desk(database, Network("only", "2 USD"))
        budget = await add_budget(database, "4 USD")
        await desk.bill(await desk.place(await desk.accept("2")), "7")
        assert (await state_of(database, budget)).left_usd == -3
