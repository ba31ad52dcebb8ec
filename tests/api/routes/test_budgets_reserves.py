"""What is set aside when jobs are accepted: to the cent, however many ask at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
from sqlalchemy import text

from api.services import open_services
from cortex.db.engine import Database
from cortex.domain.errors import BudgetUsedUp
from cortex.domain.money.budgets import BudgetAction, BudgetScope
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.domain.spec import JobSpec
from cortex.services.jobs.submit import Submissions
from cortex.settings import Settings
from tests.api.support import JOBS, check_problem, spec, submit
from tests.support.budgets import add_budget, state_of
from tests.support.providers import known_provider

ONE = {"resources": {"cpu": 1}, "duration": "1h"}
"""Costs 0.02 USD at most, at the only provider that can run it."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nobody is turned away for having waited: a busy machine is no reason to fail."""
    wait = timedelta(seconds=60)
    return settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"admission_timeout": wait}),
            "database": settings.database.model_copy(update={"timeout": wait}),
        }
    )


@pytest.fixture
async def submissions(settings: Settings, providers: None) -> AsyncIterator[Submissions]:
    """What the routes call."""
    async with open_services(settings) as services:
        yield services.submissions


async def sent(
    client: httpx.AsyncClient, path: str, body: dict[str, object], headers: dict[str, str]
) -> httpx.Response:
    """The answer that is none of a busy machine."""
    for _ in range(30):
        answer = await client.post(path, json=body, headers=headers)
        if answer.status_code != 503:
            return answer
        await asyncio.sleep(0.5)
    return answer


async def reserved(database: Database) -> dict[str, Decimal]:
    async with database.reading() as tx:
        query = text("SELECT job_id, usd FROM job_reserves WHERE released_at IS NULL")
        return {row.job_id: row.usd for row in await tx.connection.execute(query)}


async def jobs_stored(database: Database) -> int:
    async with database.reading() as tx:
        query = "SELECT count(*) FROM jobs"
        return int((await tx.connection.execute(text(query))).scalar_one())


class TestParallel:
    @pytest.mark.slow
    async def test_a_thousand_submits_fill_it_exactly(
        self, submissions: Submissions, database: Database
    ) -> None:
        budget = await add_budget(database, "5.0 USD")
        wanted = JobSpec.model_validate(spec(**ONE))
        turn = asyncio.Semaphore(100)

        async def send() -> bool:
            async with turn:
                try:
                    await submissions.submit(wanted, "alice")
                except BudgetUsedUp:
                    return False
                return True

        accepted = await asyncio.gather(*(send() for _ in range(1000)))
        assert accepted.count(True) == 250
        assert await jobs_stored(database) == 250
        assert (await state_of(database, budget)).left_usd == 0

    async def test_never_a_cent_over_with_many_budgets_and_sizes(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        """Single ones and batches of many sizes, under budgets that cover some of them each."""
        all_of_it = await add_budget(database, "1.5 USD", name="all")
        team = await add_budget(
            database, "0.31 USD", scope=BudgetScope.LABEL, value="team=ml", name="ml"
        )
        coins = await add_budget(database, "10 AKT", usd_rate="0.1", name="in AKT")
        chance = random.Random(4711)

        def one() -> dict[str, object]:
            labels = {"team": chance.choice(["ml", "web"])}
            size = {"cpu": chance.choice([1, 2, 3, "500m"])}
            return spec(resources=size, duration="1h", labels=labels)

        async def send(index: int) -> httpx.Response:
            if index % 5:
                headers = {"idempotency-key": f"k{index}"} if index % 2 else {}
                return await sent(client, JOBS, one(), headers)
            return await sent(client, f"{JOBS}/batch", {"jobs": [one() for _ in range(4)]}, {})

        answers = await asyncio.gather(*(send(index) for index in range(200)))
        assert {answer.status_code for answer in answers} == {202, 402}
        for budget in (all_of_it, team, coins):
            state = await state_of(database, budget)
            # The smallest job there is no longer fits, or only into the smaller budgets.
            assert state.left_usd >= 0
        assert (await state_of(database, coins)).left_usd < Decimal("0.01")
        assert sum((await reserved(database)).values()) <= 1


class TestRefusal:
    async def test_names_the_budget_the_rest_and_the_wish(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await add_budget(database, "0.03 USD")
        await submit(client, **ONE)
        problem = check_problem(await client.post(JOBS, json=spec(**ONE)), 402, "over_budget")
        assert "`team` (0.03 USD per month for all jobs)" in problem.detail
        assert "has 0.01 USD left" in problem.detail
        assert "0.02 USD is asked for" in problem.detail

    async def test_a_batch_is_refused_as_one(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await add_budget(database, "0.05 USD")
        batch = {"jobs": [spec(**ONE) for _ in range(3)]}
        problem = check_problem(await client.post(f"{JOBS}/batch", json=batch), 402, "over_budget")
        assert "the 3 jobs are not accepted" in problem.detail
        assert await jobs_stored(database) == 0

    async def test_a_refused_one_keeps_its_key(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        budget = await add_budget(database, "0.01 USD")
        headers = {"idempotency-key": "again"}
        check_problem(
            await client.post(JOBS, json=spec(**ONE), headers=headers), 402, "over_budget"
        )
        async with database.transaction() as tx:
            await tx.budgets.remove(budget.id)
        answer = await client.post(JOBS, json=spec(**ONE), headers=headers)
        assert answer.status_code == 202
        assert "idempotency-replayed" not in answer.headers

    @pytest.mark.parametrize(
        ("scope", "value", "action", "status"),
        [
            (BudgetScope.USER, "local", BudgetAction.STOP, 402),
            (BudgetScope.USER, "somebody", BudgetAction.STOP, 202),
            (BudgetScope.LABEL, "team=ml", BudgetAction.STOP, 402),
            (BudgetScope.LABEL, "team=web", BudgetAction.STOP, 202),
            (BudgetScope.SYSTEM, None, BudgetAction.ALERT, 202),
        ],
    )
    async def test_only_by_one_that_covers_and_stops(
        self,
        client: httpx.AsyncClient,
        database: Database,
        scope: BudgetScope,
        value: str | None,
        action: BudgetAction,
        status: int,
    ) -> None:
        await add_budget(database, "0.01 USD", scope=scope, value=value, action=action)
        answer = await client.post(JOBS, json=spec(**ONE, labels={"team": "ml"}))
        assert answer.status_code == status, answer.text
        assert await reserved(database) == {}


class TestBound:
    async def test_own_budget_goes_before_the_highest_estimate(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await add_budget(database, "100 USD")
        dear = PriceSheet(currency="AKT", cpu_hour=Decimal(3), usd_rate=Decimal("0.5"))
        able = Capabilities(images=True, processes=True)
        async with database.transaction() as tx:
            await known_provider(tx, "akash", "akash", capabilities=able, prices=dear)
        own = await submit(client, **ONE, budget="0.5 USD")
        highest = await submit(client, **ONE)
        assert await reserved(database) == {own: Decimal("0.5"), highest: Decimal("1.5")}

    async def test_released_when_the_job_ends_whoever_ends_it(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        budget = await add_budget(database, "0.02 USD")
        job_id = await submit(client, **ONE)
        assert (await state_of(database, budget)).spending.reserved == Decimal("0.02")
        async with database.transaction() as tx:
            for state in ("placing", "settling", "cancelled"):
                await tx.connection.execute(
                    text("UPDATE jobs SET state = :state WHERE id = :id"),
                    {"state": state, "id": job_id},
                )
        assert (await state_of(database, budget)).spending.total == 0
        await submit(client, **ONE)

    async def test_without_a_budget_nothing_is_reserved(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await submit(client, **ONE)
        assert await reserved(database) == {}

    async def test_extension_of_one_that_waits_grows_in_proportion(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        budget = await add_budget(database, "0.05 USD")
        job_id = await submit(client, **ONE)
        path = f"{JOBS}/{job_id}/extend"
        answer = await client.post(path, json={"duration": "30m"})
        assert answer.status_code == 202, answer.text
        assert await reserved(database) == {job_id: Decimal("0.03")}
        problem = check_problem(
            await client.post(path, json={"duration": "90m"}), 402, "over_budget"
        )
        assert "0.02 USD left" in problem.detail
        assert (await state_of(database, budget)).spending.total == Decimal("0.03")
