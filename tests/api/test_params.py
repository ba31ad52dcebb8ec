"""What has another form than the document says is refused, and not taken for something else."""

import httpx
import pytest

from tests.api.support import JOBS, check_problem, submit

NOBODY = "job_01j00000000000000000000000"


class TestParameters:
    @pytest.mark.parametrize(
        "time",
        ["0.5", "1767225600", "2026-01-31T12:00:00", "31.01.2026", "2026-02-30", "7", "-2h", "2w"],
    )
    async def test_no_number_is_a_time(self, client: httpx.AsyncClient, time: str) -> None:
        for path, name in (("/api/v1/costs", "until"), (JOBS, "created_after")):
            answer = await client.get(path, params={name: time})
            problem = check_problem(answer, 422, "invalid_request")
            assert [error.field for error in problem.errors] == [name]
            assert "RFC 3339" in problem.detail

    @pytest.mark.parametrize(
        "time",
        [
            "2026-01-31T12:00:00Z",
            "2026-01-31t12:00:00.123456789+02:00",
            "2016-12-31T23:59:60Z",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "2026-01-31",
            "90s",
            "999999d",
        ],
    )
    async def test_times(self, client: httpx.AsyncClient, time: str) -> None:
        for path, name in (("/api/v1/costs", "since"), (JOBS, "created_before")):
            answer = await client.get(path, params={name: time})
            assert answer.status_code == 200, answer.text

    async def test_how_long_ago(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        for param, seen in (("created_after", True), ("created_before", False)):
            page = (await client.get(JOBS, params={param: "1h"})).json()
            assert ([job["id"] for job in page["items"]] == [job_id]) == seen

    @pytest.mark.parametrize(
        ("path", "name", "value"),
        [
            (f"{JOBS}/{NOBODY}/logs", "follow", "yes"),
            (f"{JOBS}/{NOBODY}/logs", "follow", "1"),
            ("/api/v1/reconcile/findings", "all", "on"),
            (JOBS, "limit", "10.0"),
            (JOBS, "limit", " 10"),
            (JOBS, "limit", "1_0"),
            (JOBS, "limit", "٣"),
            ("/api/v1/events", "after", "1-2\n"),
            ("/api/v1/costs", "group_by", "label:"),
        ],
    )
    async def test_other_forms(
        self, client: httpx.AsyncClient, path: str, name: str, value: str
    ) -> None:
        problem = check_problem(
            await client.get(path, params={name: value}), 422, "invalid_request"
        )
        assert [error.field for error in problem.errors] == [name]

    async def test_a_path_with_nul(self, client: httpx.AsyncClient) -> None:
        for path in ("providers/a%00b", "budgets/a%00b", f"jobs/{NOBODY}/outputs/a%00b"):
            check_problem(await client.get(f"/api/v1/{path}"), 404, "not_found")


class TestBodies:
    @pytest.mark.parametrize("value", [0, 1, "true", "no", None, [], 0.0])
    async def test_only_a_truth_is_a_truth(self, client: httpx.AsyncClient, value: object) -> None:
        """`{"dry_run": 0}` ran for real."""
        budget = {"name": "b", "amount": "1 USD"}
        for path, body, field in (
            ("reconcile", {}, "dry_run"),
            (f"jobs/{NOBODY}/resolve", {"action": "retry", "reason": "r"}, "force"),
            ("budgets", budget, "enabled"),
            ("providers", {"id": "p", "type": "null"}, "enabled"),
        ):
            answer = await client.post(f"/api/v1/{path}", json={**body, field: value})
            problem = check_problem(answer, 422, "invalid_request")
            assert [error.field for error in problem.errors] == [field]

    @pytest.mark.parametrize("value", ["1", True, 0])
    async def test_only_a_number_is_a_number(
        self, client: httpx.AsyncClient, value: object
    ) -> None:
        body = {"id": "p", "type": "null", "rate_limit": value}
        answer = await client.post("/api/v1/providers", json=body)
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["rate_limit"]

    @pytest.mark.parametrize("amount", [{"amount": True, "currency": "USD"}, "٣ USD", "1e5 USD"])
    async def test_money(self, client: httpx.AsyncClient, amount: object) -> None:
        answer = await client.post("/api/v1/budgets", json={"name": "b", "amount": amount})
        check_problem(answer, 422, "invalid_request")

    @pytest.mark.parametrize("reason", ["", " ", "\n\t", "\u00a0"])
    async def test_a_reason_is_to_be_seen(self, client: httpx.AsyncClient, reason: str) -> None:
        body = {"action": "retry", "reason": reason}
        answer = await client.post(f"{JOBS}/{NOBODY}/resolve", json=body)
        check_problem(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("jobs", "GET, POST"),
        ("jobs/batch", "POST"),
        ("budgets/bud_1", "DELETE, GET, PATCH"),
        ("providers", "GET, POST"),
        (f"jobs/{NOBODY}/outputs/a/b", "GET, HEAD"),
    ],
)
async def test_allow_names_every_method(client: httpx.AsyncClient, path: str, methods: str) -> None:
    answer = await client.request("PUT", f"/api/v1/{path}")
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers.get_list("allow") == [methods]
