"""API keys with a budget: what is submitted with one counts there, and nothing gets around it."""

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.accounts import KeyBudget
from cortex.domain.ids import new_id
from cortex.domain.rights import NEVER_WITH_BUDGET
from cortex.schemas.accounts import KeyCreated, KeyPage
from tests.api.routes.test_keys import KEYS, made, sending, user
from tests.api.support import JOBS, check_problem, spec
from tests.support.budgets import add_budget

API = "/api/v1"
ONE = {"resources": {"cpu": 1}, "duration": "1h"}
"""Costs 0.02 USD at most, at the only provider that can run it."""


async def limited(client: httpx.AsyncClient, amount: str) -> KeyCreated:
    return await made(client, budget=amount)


async def budget_of(client: httpx.AsyncClient, key: KeyCreated) -> KeyBudget:
    page = KeyPage.model_validate_json((await client.get(KEYS)).content)
    (listed,) = [each for each in page.items if each.id == key.info.id]
    assert listed.budget is not None
    return listed.budget


async def submitted(client: httpx.AsyncClient, key: KeyCreated, **values: Any) -> httpx.Response:
    return await client.post(JOBS, json=spec(**{**ONE, **values}), headers=sending(key.key))


async def counted(database: Database, key: KeyCreated) -> int:
    async with database.reading() as tx:
        query = text("SELECT count(*) FROM jobs WHERE api_key = :key")
        return int((await tx.connection.execute(query, {"key": key.info.id})).scalar_one())


async def twenty_at_once(client: httpx.AsyncClient, database: Database) -> None:
    """With a key that can pay for three."""
    key = await limited(client, "0.06 USD")
    answers = await asyncio.gather(*(submitted(client, key) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {202: 3, 402: 17}
    assert await counted(database, key) == 3
    budget = await budget_of(client, key)
    assert (budget.reserved.amount, budget.left.amount) == (Decimal("0.06"), Decimal(0))


class TestParallel:
    async def test_as_many_are_accepted_as_it_can_pay_for(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        await twenty_at_once(client, database)

    @pytest.mark.slow
    async def test_each_time(self, client: httpx.AsyncClient, database: Database) -> None:
        await user(client)
        for _ in range(20):
            await twenty_at_once(client, database)


class TestRefusal:
    async def test_names_the_key_the_rest_and_the_wish(self, client: httpx.AsyncClient) -> None:
        await user(client)
        key = await limited(client, "0.03USD")
        assert (await submitted(client, key)).status_code == 202
        problem = check_problem(await submitted(client, key), 402, "over_budget")
        assert problem.detail == (
            f"the job is not accepted: budget `ci` (0.03 USD in all for jobs of API key "
            f"{key.info.id}) has 0.01 USD left, and 0.02 USD is asked for"
        )

    async def test_other_budgets_count_besides(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        await add_budget(database, "0.03 USD", name="everything")
        key = await limited(client, "1 USD")
        assert (await submitted(client, key)).status_code == 202
        problem = check_problem(await submitted(client, key), 402, "over_budget")
        assert "`everything`" in problem.detail
        assert (await budget_of(client, key)).reserved.amount == Decimal("0.02")

    async def test_what_comes_with_another_key_does_not_count(
        self, client: httpx.AsyncClient
    ) -> None:
        await user(client)
        key, other = await limited(client, "0.01 USD"), await made(client)
        assert (await submitted(client, other)).status_code == 202
        check_problem(await submitted(client, key), 402, "over_budget")


class TestWhatCounts:
    async def test_batches_groups_and_templates(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        plain, key = await made(client), await limited(client, "0.11 USD")
        headers = sending(key.key)
        body = {"name": "t", "job": {"command": ["x"], **ONE}}
        answer = await client.post(f"{API}/templates", json=body, headers=sending(plain.key))
        template = f"{API}/templates/{answer.json()['id']}/submit"
        batch = {"jobs": [spec(**ONE), spec(**ONE)]}
        group = {"name": "g", "jobs": [{"name": "a", "command": ["x"], **ONE}] * 1}
        for path, sent in (
            (f"{JOBS}/batch", batch),
            (f"{API}/groups", group),
            (template, {}),
            (template, {}),
        ):
            answer = await client.post(path, json=sent, headers=headers)
            assert answer.status_code in (201, 202), answer.text
        assert await counted(database, key) == 5
        for path, sent in ((f"{JOBS}/batch", batch), (f"{API}/groups", group), (template, {})):
            problem = check_problem(
                await client.post(path, json=sent, headers=headers), 402, "over_budget"
            )
            assert f"API key {key.info.id}) has 0.01 USD left" in problem.detail
        assert await counted(database, key) == 5

    async def test_schedules_whoever_fires_them(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        plain, key = await made(client), await limited(client, "0.02 USD")
        job = {"command": ["x"], **ONE}

        async def schedule(name: str, by: KeyCreated) -> str:
            body = {"name": name, "cron": "0 0 1 1 *", "job": job}
            answer = await client.post(f"{API}/schedules", json=body, headers=sending(by.key))
            assert answer.status_code == 201, answer.text
            return f"{API}/schedules/{answer.json()['id']}"

        mine, other = await schedule("mine", key), await schedule("other", plain)
        answer = await client.post(f"{mine}/trigger", headers=sending(plain.key))
        assert answer.status_code == 202, answer.text
        assert await counted(database, key) == 1
        answer = await client.post(f"{mine}/trigger", headers=sending(key.key))
        assert "0 USD left" in check_problem(answer, 409, "conflict").detail
        for call, body in (
            (client.post, f"{other}/trigger"),
            (client.post, f"{other}/resume"),
        ):
            problem = check_problem(await call(body, headers=sending(key.key)), 403, "forbidden")
            assert "has a budget, and schedule `other` was not made with it" in problem.detail
        answer = await client.patch(other, json={"description": "x"}, headers=sending(key.key))
        check_problem(answer, 403, "forbidden")
        span = {"start": "2025-01-01T00:00:00Z", "end": "2025-01-02T00:00:00Z"}
        answer = await client.post(f"{other}/backfill", json=span, headers=sending(key.key))
        check_problem(answer, 403, "forbidden")

    async def test_extensions_of_its_own_jobs_only(self, client: httpx.AsyncClient) -> None:
        await user(client)
        plain, key = await made(client), await limited(client, "0.03 USD")
        mine, other = [await submitted(client, by) for by in (key, plain)]

        async def extended(job: httpx.Response, duration: str) -> httpx.Response:
            return await client.post(
                f"{JOBS}/{job.json()['id']}/extend",
                json={"duration": duration},
                headers=sending(key.key),
            )

        assert (await extended(mine, "30m")).status_code == 202
        check_problem(await extended(mine, "30m"), 402, "over_budget")
        problem = check_problem(await extended(other, "30m"), 403, "forbidden")
        assert "was not made with it" in problem.detail


class TestLife:
    async def test_what_was_submitted_outlives_the_key(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        key = await limited(client, "1 USD")
        job_id = (await submitted(client, key)).json()["id"]
        assert (await client.delete(f"{KEYS}/{key.info.id}")).status_code == 204
        assert (await client.get(f"{JOBS}/{job_id}")).json()["state"] == "pending"
        assert (await budget_of(client, key)).reserved.amount == Decimal("0.02")
        async with database.transaction() as tx:
            for state in ("placing", "settling", "cancelled"):
                await tx.connection.execute(text(f"UPDATE jobs SET state = '{state}'"))
        assert (await budget_of(client, key)).left.amount == 1

    async def test_it_is_no_budget_of_the_list(self, client: httpx.AsyncClient) -> None:
        await user(client)
        key = await limited(client, "5 USD")
        assert key.info.budget is not None
        assert str(key.info.budget.amount) == "5 USD"
        assert (await client.get(f"{API}/budgets")).json() == []
        (entry,) = (await client.get(f"{API}/audit?action=key.create")).json()["items"]
        assert entry["data"]["after"]["budget"] == "5 USD"

    async def test_nor_to_be_changed_or_removed_there(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        await limited(client, "5 USD")
        async with database.reading() as tx:
            (budget,) = await tx.budgets.all()
        path = f"{API}/budgets/{budget.id}"
        for answer in (
            await client.get(path),
            await client.patch(path, json={"amount": "9 USD"}),
            await client.delete(path),
        ):
            check_problem(answer, 404, "not_found")
        body = {"name": "x", "scope": "key", "scope_value": "key_1", "amount": "1 USD"}
        check_problem(await client.post(f"{API}/budgets", json=body), 422, "invalid_request")


class TestWaysAround:
    async def test_what_it_never_opens(self, client: httpx.AsyncClient) -> None:
        await user(client, role="admin")
        key = await limited(client, "5 USD")
        for method, path in (
            ("POST", KEYS),
            ("POST", f"{API}/users"),
            ("POST", f"{API}/budgets"),
            ("POST", f"{API}/templates"),
            ("POST", f"{JOBS}/{new_id('job')}/resolve"),
        ):
            answer = await client.request(method, path, json={}, headers=sending(key.key))
            detail = check_problem(answer, 403, "forbidden").detail
            assert "has a budget, and a key with a budget never allows" in detail
            assert "scope" not in detail
        assert (await client.get(JOBS, headers=sending(key.key))).status_code == 200

    async def test_such_a_scope_is_of_no_use(self, client: httpx.AsyncClient) -> None:
        await user(client, role="admin")
        for action in NEVER_WITH_BUDGET:
            scopes = ["jobs:read", action.replace(".", ":")]
            body = {"name": "x", "user": "ann", "budget": "5 USD", "scopes": scopes}
            problem = check_problem(await client.post(KEYS, json=body), 422, "invalid_request")
            assert "a key with a budget never allows it" in problem.detail

    async def test_the_least_amount(self, client: httpx.AsyncClient) -> None:
        await user(client)
        key = await limited(client, "0.000000001 USD")
        assert (await budget_of(client, key)).left.amount == Decimal("0.000000001")

    async def test_who_is_no_user_is_told_what_to_do(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(KEYS, json={"name": "ci", "budget": "5 USD"})
        problem = check_problem(answer, 404, "not_found")
        assert "`local` is no user" in problem.detail
        assert "`cortex users add NAME" in problem.detail
        assert "`--user NAME`" in problem.detail

    async def test_an_amount_that_is_none(self, client: httpx.AsyncClient) -> None:
        await user(client)
        for amount in (
            "0 USD",
            "-1 USD",
            "0.000000000000000001 USD",
            "5",
            "5 dollars!",
            "1 XYZ",
            5,
        ):
            body = {"name": "x", "user": "ann", "budget": amount}
            problem = check_problem(await client.post(KEYS, json=body), 422, "invalid_request")
            assert problem.errors[0].field.startswith("budget"), amount
