"""Providers over the API, as far as it goes without a worker."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from cortex.db.engine import Database
from cortex.db.providers.repository import Observation
from cortex.domain.offers import PriceSheet
from cortex.domain.providers.circuit import CircuitRules
from cortex.domain.providers.health import HealthRules
from tests.api.support import check_problem

URL = "/api/v1/providers"


class TestRefusing:
    @pytest.mark.parametrize("name", ["F1", "a b", "-x", "", "x" * 80, "../x"])
    async def test_a_bad_id(self, client: httpx.AsyncClient, name: str) -> None:
        answer = await client.post(URL, json={"id": name, "type": "null"})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["id"]

    async def test_an_unknown_field(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(URL, json={"id": "x", "type": "null", "key": "k"})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["key"]

    @pytest.mark.parametrize("limit", [0, -1, "fast"])
    async def test_a_bad_rate_limit(self, client: httpx.AsyncClient, limit: object) -> None:
        answer = await client.patch(f"{URL}/local", json={"rate_limit": limit})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["rate_limit"]

    @pytest.mark.parametrize(
        ("method", "path"),
        [("PATCH", ""), ("DELETE", ""), ("POST", "/enable"), ("POST", "/disable")],
    )
    async def test_those_of_the_settings_are_read_only(
        self, client: httpx.AsyncClient, method: str, path: str
    ) -> None:
        content = b"{}" if method == "PATCH" else None
        answer = await client.request(method, f"{URL}/local{path}", content=content)
        problem = check_problem(answer, 409, "conflict")
        assert "comes from the settings" in problem.detail
        assert "[providers.local]" in problem.detail

    @pytest.mark.parametrize("path", ["", "/status", "/pricing", "/jobs"])
    async def test_one_that_is_not_there(self, client: httpx.AsyncClient, path: str) -> None:
        check_problem(await client.get(f"{URL}/nowhere{path}"), 404, "not_found")

    async def test_a_wrong_cursor(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(f"{URL}/local/status?cursor=x")
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["cursor"]

    async def test_without_temporal_nothing_is_kept(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        answer = await client.post(URL, json={"id": "x", "type": "null"})
        check_problem(answer, 503, "temporal_unavailable")
        async with database.transaction() as tx:
            left = await tx.connection.exec_driver_sql("SELECT count(*) FROM provider_drafts")
            assert left.scalar_one() == 0


class TestHistory:
    async def test_of_checks_comes_in_pages(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        for number in range(5):
            observation = Observation(
                "good", f"check {number}", latency=timedelta(milliseconds=number)
            )
            async with database.transaction() as tx:
                await tx.providers.observe("local", observation, HealthRules())
        first = (await client.get(f"{URL}/local/status?limit=4")).json()
        assert [check["message"] for check in first["items"]] == [
            f"check {number}" for number in (4, 3, 2, 1)
        ]
        assert first["items"][0]["latency_ms"] == 4
        cursor = first["next_cursor"]
        rest = (await client.get(f"{URL}/local/status?limit=4&cursor={cursor}")).json()
        assert [check["message"] for check in rest["items"]] == ["check 0", ""]
        assert rest["next_cursor"] is None

    async def test_of_prices_has_changes_only(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        for price in ("0.02", "0.03", "0.03", "0.01"):
            sheet = PriceSheet(cpu_hour=Decimal(price), as_of=datetime.now(UTC))
            async with database.transaction() as tx:
                await tx.providers.observe(
                    "local", Observation("good", prices=sheet), HealthRules()
                )
        told = (await client.get(f"{URL}/local/pricing")).json()
        assert told["current"]["cpu_hour"] == "0.01"
        assert [change["prices"]["cpu_hour"] for change in told["history"]] == [
            "0.01",
            "0.03",
            "0.02",
        ]


async def test_an_open_circuit_is_shown(client: httpx.AsyncClient, database: Database) -> None:
    async with database.transaction() as tx:
        await tx.circuits.failed("local", "no answer", CircuitRules(failures=1))
    circuit = (await client.get(f"{URL}/local")).json()["circuit"]
    assert (circuit["state"], circuit["reason"], circuit["failures"]) == ("open", "no answer", 1)
    assert circuit["since"] < circuit["probe_at"]


async def test_a_late_call_brings_no_removed_provider_back(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.circuits.failed("gone", "no answer", CircuitRules(failures=1))
        assert "gone" not in await tx.circuits.all()
