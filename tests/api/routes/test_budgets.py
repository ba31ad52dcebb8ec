"""Budgets through the API: made, changed, refused, shown with what counts against them."""

from decimal import Decimal

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.schemas.money import BudgetView, ForecastView
from tests.api.support import check_problem, submit
from tests.support.providers import known_provider

BUDGETS = "/api/v1/budgets"
TEAM = {"name": "team", "amount": "10 USD", "action": "stop"}


async def made(client: httpx.AsyncClient, **values: object) -> BudgetView:
    answer = await client.post(BUDGETS, json={**TEAM, **values})
    assert answer.status_code == 201, answer.text
    budget = BudgetView.model_validate_json(answer.content)
    assert answer.headers["location"] == f"{BUDGETS}/{budget.id}"
    return budget


async def akash(database: Database, rate: str) -> None:
    sheet = PriceSheet(currency="AKT", cpu_hour=Decimal("0.01"), usd_rate=Decimal(rate))
    able = Capabilities(images=True, processes=False)
    async with database.transaction() as tx:
        await known_provider(tx, "akash", "akash", capabilities=able, prices=sheet)


async def written(database: Database, query: str) -> list[tuple[object, ...]]:
    async with database.reading() as tx:
        return [tuple(row) for row in await tx.connection.execute(text(query))]


class TestChanges:
    async def test_add_show_change_remove(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        budget = await made(client, scope="label", scope_value="team=ml", period="week")
        assert str(budget.left) == "10 USD"
        assert (budget.used, budget.usd_rate) == (Decimal(0), Decimal(1))
        assert (budget.period_end - budget.period_start).days == 7
        path = f"{BUDGETS}/{budget.id}"
        answer = await client.patch(path, json={"amount": "20 USD", "enabled": False})
        changed = BudgetView.model_validate_json(answer.content)
        assert (str(changed.amount), changed.enabled) == ("20 USD", False)
        assert changed.scope_value == "team=ml"
        listed = (await client.get(BUDGETS)).json()
        assert [row["id"] for row in listed] == [budget.id]
        assert (await client.delete(path)).status_code == 204
        check_problem(await client.get(path), 404, "not_found")
        check_problem(await client.patch(path, json={"name": "x"}), 404, "not_found")
        check_problem(await client.delete(path), 404, "not_found")
        audit = "SELECT actor, action, subject, source FROM audit_log ORDER BY id"
        assert await written(database, audit) == [
            ("local", f"budget.{what}", budget.id, "127.0.0.1")
            for what in ("create", "update", "remove")
        ]
        events = await written(
            database,
            "SELECT data->>'change', data->'values' FROM events WHERE type = "
            f"'budget.changed' AND subject = '{budget.id}' ORDER BY seq",
        )
        assert [row[0] for row in events] == ["create", "update", "remove"]
        assert events[1][1] == {"amount": "20 USD", "enabled": False}

    async def test_what_changes_nothing_is_not_told(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        budget = await made(client)
        answer = await client.patch(f"{BUDGETS}/{budget.id}", json={"amount": "10.0 USD"})
        assert answer.status_code == 200
        query = "SELECT count(*) FROM events WHERE type = 'budget.changed'"
        assert await written(database, query) == [(1,)]

    @pytest.mark.parametrize(
        ("wrong", "where"),
        [
            ({"amount": "0 USD"}, "amount"),
            ({"amount": "-1 USD"}, "amount"),
            ({"amount": "0.000000000000000001 USD"}, "amount"),
            ({"amount": "0.000000000999999999999999999999 USD"}, "amount"),
            ({"amount": "ten"}, "amount"),
            ({"amount": 10}, "amount"),
            ({"name": ""}, "name"),
            ({"name": "a\u202eb"}, "name"),
            ({"scope": "user"}, "scope_value"),
            ({"scope": "label", "scope_value": "team"}, "scope_value"),
            ({"scope_value": "alice"}, "scope_value"),
            ({"scope": "project"}, "scope_value"),
            ({"scope": "key"}, "scope"),
            ({"scope": "key", "scope_value": "key_1"}, "scope"),
            ({"period": "year"}, "period"),
            ({"action": "kill"}, "action"),
            ({"color": "red"}, "color"),
        ],
    )
    async def test_bad_input(
        self, client: httpx.AsyncClient, wrong: dict[str, object], where: str
    ) -> None:
        answer = await client.post(BUDGETS, json={**TEAM, **wrong})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == [where]
        assert (await client.get(BUDGETS)).json() == []


class TestCurrency:
    async def test_without_a_rate_it_is_refused(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await akash(database, "0.5")
        answer = await client.post(BUDGETS, json={**TEAM, "amount": "10 GLM"})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["currency"]
        assert problem.errors[0].message == "`GLM` has no known rate; known are AKT, USD"
        budget = await made(client)
        answer = await client.patch(f"{BUDGETS}/{budget.id}", json={"amount": "1 GLM"})
        check_problem(answer, 422, "invalid_request")

    async def test_the_rate_is_kept_with_it(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await akash(database, "0.5")
        budget = await made(client, amount="10 AKT")
        assert budget.usd_rate == Decimal("0.5")
        await submit(client, resources={"cpu": 1}, duration="1h")  # reserves 0.02 USD
        view = BudgetView.model_validate_json((await client.get(f"{BUDGETS}/{budget.id}")).content)
        assert (str(view.reserved), str(view.left)) == ("0.04 AKT", "9.96 AKT")
        assert view.used == Decimal("0.004")


class TestForecast:
    async def test_of_all_jobs(self, client: httpx.AsyncClient) -> None:
        for period in ("day", "week", "month"):
            answer = await client.get("/api/v1/costs/forecast", params={"period": period})
            forecast = ForecastView.model_validate_json(answer.content)
            assert (forecast.period, str(forecast.total)) == (period, "0 USD")
            assert "a usual day" in forecast.method
        answer = await client.get("/api/v1/costs/forecast?period=year")
        check_problem(answer, 422, "invalid_request")
