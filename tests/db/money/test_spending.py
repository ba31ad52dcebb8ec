"""Sums, reports and forecasts, from rows that are written here with their times."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert, text

from cortex.db.engine import Database, Transaction
from cortex.db.jobs.repository import NewJob
from cortex.db.money.budgets import question
from cortex.db.tables.leases import LeaseRow
from cortex.db.tables.money import LedgerRow
from cortex.domain.ids import new_id
from cortex.domain.money import Money
from cortex.domain.money.budgets import BudgetPeriod, BudgetScope, period_of
from cortex.domain.money.forecast import Facts, outlook
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from tests.support.budgets import add_budget, state_of

MONTH = period_of(BudgetPeriod.MONTH, datetime.now(UTC))


async def moment(tx: Transaction) -> datetime:
    """What time it is for the database, throughout this transaction."""
    now: datetime = (await tx.connection.execute(text("SELECT now()"))).scalar_one()
    return now.astimezone(UTC)


async def job(
    tx: Transaction,
    *,
    owner: str = "alice",
    state: str = "completed",
    attempt: int = 1,
    api_key: str | None = None,
    **labels: str,
) -> str:
    spec = JobSpec(command=("x",), labels=labels)
    new = NewJob(new_id("job"), owner, spec, api_key=api_key)
    await tx.acceptance.store(
        [new], [spec.model_dump(mode="json")], delay=timedelta(0), reserves=[None]
    )
    await tx.connection.execute(
        text("UPDATE jobs SET state = :state, attempt = :attempt WHERE id = :id"),
        {"state": state, "attempt": attempt, "id": new.id},
    )
    return new.id


async def lease(tx: Transaction, job_id: str, attempt: int = 1, **fields: Any) -> str:
    key = f"{job_id}-{attempt}"
    offer = Offer(
        provider_id="net",
        price_per_hour=Money.model_validate(fields.pop("price", "1 USD")),
        usd_rate=Decimal(fields.pop("rate", "1")),
    )
    values = {"state": "released", "provider_id": "net", "cost": Decimal(0), **fields}
    await tx.connection.execute(
        insert(LeaseRow).values(
            key=key,
            job_id=job_id,
            attempt=attempt,
            offer=offer.model_dump(mode="json"),
            **values,
        )
    )
    return key


async def book(
    tx: Transaction,
    key: str,
    kind: str,
    amount: str,
    at: datetime | None = None,
    *,
    currency: str = "USD",
    rate: str = "1",
) -> None:
    await tx.connection.execute(
        insert(LedgerRow).values(
            id=new_id("led"),
            job_id=key.rpartition("-")[0],
            lease_key=key,
            provider_id="net",
            kind=kind,
            amount=Decimal(amount),
            currency=currency,
            usd_rate=Decimal(rate),
            created_at=at or await moment(tx),
        )
    )


async def charged(tx: Transaction, amount: str, at: datetime | None = None, **of: Any) -> None:
    money = {name: of.pop(name) for name in ("currency", "rate") if name in of}
    await book(tx, await lease(tx, await job(tx, **of)), "charge", amount, at, **money)


class TestKeys:
    async def test_all_that_was_ever_submitted_with_it_counts(self, database: Database) -> None:
        """Also what was billed years ago; nothing of others, and what runs and waits as well."""
        scope = BudgetScope.KEY
        budget = await add_budget(database, "100 USD", scope=scope, value="key_1", period=None)
        async with database.transaction() as tx:
            await charged(tx, "1", datetime(2021, 5, 1, tzinfo=UTC), api_key="key_1")
            await charged(tx, "2", api_key="key_1")
            await charged(tx, "4", api_key="key_2")
            await charged(tx, "8")
            running = await job(tx, state="running", api_key="key_1")
            key = await lease(tx, running, state="active", cost=None)
            await book(tx, key, "hold", "16")
            waiting = await job(tx, state="pending", api_key="key_1")
            await tx.reserves.put(waiting, Decimal(32))
        spending = (await state_of(database, budget)).spending
        assert [spending.charged, spending.held, spending.reserved] == [3, 16, 32]
        async with database.reading() as tx:
            burdens = await tx.spending.burdens(question(budget, MONTH))
        assert {each.job_id for each in burdens} == {running, waiting}


class TestPeriodBorders:
    @pytest.mark.parametrize("kind", list(BudgetPeriod))
    async def test_a_bill_counts_in_the_period_it_is_booked_in(
        self, database: Database, kind: BudgetPeriod
    ) -> None:
        budget = await add_budget(database, "100 USD", period=kind)
        tick = timedelta(microseconds=1)
        async with database.transaction() as tx:
            now = await moment(tx)
            period = period_of(kind, now)
            await charged(tx, "1", period.start)
            await charged(tx, "2", period.start - tick)
            await charged(tx, "4", period.end - tick)
            await charged(tx, "8", period.end)
        async with database.reading() as tx:
            state = (await tx.budgets.states([budget], now))[0]
            before = (await tx.budgets.states([budget], period.start - tick))[0]
            after = (await tx.budgets.states([budget], period.end))[0]
        assert state.spending.charged == 5
        assert before.spending.charged == 2
        assert after.spending.charged == 8


class TestSums:
    async def test_each_scope_counts_its_own(self, database: Database) -> None:
        of_all = await add_budget(database, "100 USD")
        of_user = await add_budget(database, "100 USD", scope=BudgetScope.USER, value="bob")
        of_label = await add_budget(database, "100 USD", scope=BudgetScope.LABEL, value="q=a=b")
        async with database.transaction() as tx:
            await charged(tx, "1", owner="bob")
            await charged(tx, "2", owner="alice", q="a=b")
            await charged(tx, "4", owner="bob", q="a=b", currency="AKT", rate="0.5")
            await charged(tx, "8", owner="eve", q="a")
            open_one = await lease(tx, await job(tx, owner="bob"), state="active", cost=None)
            await book(tx, open_one, "hold", "16")
            await book(tx, open_one, "hold", "16")  # it was extended
            closed = await lease(tx, await job(tx, owner="bob"), state="releasing")
            await book(tx, closed, "hold", "64")
        sums = [await state_of(database, budget) for budget in (of_all, of_user, of_label)]
        assert [state.spending.charged for state in sums] == [13, 3, 4]
        assert [state.spending.held for state in sums] == [32, 32, 0]

    async def test_a_lease_that_costs_more_than_its_hold_counts_with_that(
        self, database: Database
    ) -> None:
        budget = await add_budget(database, "100 USD")
        async with database.transaction() as tx:
            for usage in (Decimal(3), Decimal(12), None):
                key = await lease(tx, await job(tx), state="active", cost=None, usage_usd=usage)
                await book(tx, key, "hold", "10")
        assert (await state_of(database, budget)).spending.held == 32


class TestReports:
    async def test_by_cause(self, database: Database) -> None:
        async with database.transaction() as tx:
            twice = await job(tx, attempt=2)
            await book(tx, await lease(tx, twice, 1, failure="lost"), "charge", "1")
            await book(tx, await lease(tx, twice, 2), "charge", "2")
            again = await job(tx, attempt=2, state="running")
            await book(tx, await lease(tx, again, 1), "charge", "4")
            await book(tx, await lease(tx, again, 2, state="active", cost=None), "hold", "8")
            await charged(tx, "16", state="failed")
            await charged(tx, "32", state="cancelled")
            rows = await tx.reports.costs(["cause"], since=None, until=None)
        sums = {row.keys[0]: (row.charged, row.held) for row in rows}
        assert sums == {
            "lost": (Decimal(1), Decimal(0)),
            "completed": (Decimal(2), Decimal(0)),
            "failed": (Decimal(20), Decimal(0)),
            "cancelled": (Decimal(32), Decimal(0)),
            "open": (Decimal(0), Decimal(8)),
        }

    @pytest.mark.parametrize(
        ("key", "names"),
        [
            ("hour", ["2026-12-31T23:00", "2027-01-01T00:00"]),
            ("day", ["2026-12-31", "2027-01-01"]),
            ("week", ["2026-W53"]),
            ("month", ["2026-12", "2027-01"]),
        ],
    )
    async def test_by_time_in_utc(self, database: Database, key: str, names: list[str]) -> None:
        border = datetime(2027, 1, 1, tzinfo=UTC)
        async with database.transaction() as tx:
            await charged(tx, "1", border)
            await charged(tx, "9", border - timedelta(microseconds=1))
            rows = await tx.reports.costs([key], since=None, until=None)
            late = await tx.reports.costs([key], since=border, until=None)
        assert [row.keys[0] for row in rows] == names
        assert [row.charged for row in late] == [1]

    async def test_two_keys_and_currencies(self, database: Database) -> None:
        async with database.transaction() as tx:
            await charged(tx, "1", team="a")
            await charged(tx, "3", team="a", currency="AKT", rate="0.5")
            await charged(tx, "2", owner="bob")
            rows = await tx.reports.costs(["label:team", "owner"], since=None, until=None)
        assert [(*row.keys, row.currency, row.charged, row.charged_usd) for row in rows] == [
            ("(none)", "bob", "USD", 2, 2),
            ("a", "alice", "AKT", 3, Decimal("1.5")),
            ("a", "alice", "USD", 1, 1),
        ]


class TestForecast:
    async def test_what_it_is_built_on(self, database: Database) -> None:
        budget = await add_budget(database, "100 USD")
        async with database.transaction() as tx:
            now = await moment(tx)
            today = now.replace(hour=0, minute=0, second=0, microsecond=0)
            await charged(tx, "6", today - timedelta(days=2))
            await charged(tx, "3", today - timedelta(microseconds=1))
            await charged(tx, "1", now)
            running = await job(tx, state="running")
            await lease(
                tx,
                running,
                state="active",
                cost=None,
                price="2 AKT",
                rate="0.5",
                committed_at=text("now() - interval '30 minutes'"),
                started_at=text("now() - interval '30 minutes'"),
            )
            await tx.connection.execute(
                text("UPDATE jobs SET deadline_at = now() + interval '1 hour' WHERE id = :id"),
                {"id": running},
            )
            wide = period_of(BudgetPeriod.WEEK, now)
            period = wide.model_copy(update={"end": now + timedelta(days=2)})
            facts = (await tx.spending.facts([question(budget, period)]))[budget.id]
        assert facts.so_far == pytest.approx(Decimal("0.5"), abs=Decimal("0.01"))
        assert facts.ahead == pytest.approx(Decimal(1), abs=Decimal("0.01"))
        assert facts.ended_days_charged == 9
        assert facts.first_day == today - timedelta(days=2)
        forecast = outlook(facts, period)
        assert (forecast.days, forecast.per_day) == (2, Decimal("4.5"))
        assert forecast.usual == pytest.approx(Decimal(9), abs=Decimal("0.1"))
        assert forecast.total == forecast.charged + forecast.so_far + forecast.usual

    async def test_what_runs_counts_until_the_periods_end(self, database: Database) -> None:
        budget = await add_budget(database, "100 USD")
        async with database.transaction() as tx:
            now = await moment(tx)
            running = await job(tx, state="running")
            await lease(tx, running, state="active", cost=None, committed_at=now, started_at=now)
            await tx.connection.execute(
                text("UPDATE jobs SET deadline_at = now() + interval '10 hours' WHERE id = :id"),
                {"id": running},
            )
            period = MONTH.model_copy(update={"end": now + timedelta(hours=3)})
            facts = (await tx.spending.facts([question(budget, period)]))[budget.id]
        assert facts.ahead == pytest.approx(Decimal(3), abs=Decimal("0.05"))

    def test_nothing_known_is_nothing_expected(self) -> None:
        forecast = outlook(Facts(now=datetime.now(UTC)), MONTH)
        assert forecast.total == forecast.per_day == forecast.days == 0
