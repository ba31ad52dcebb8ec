"""Listing, getting, cancelling and extending jobs."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind
from cortex.domain.offers import Offer
from cortex.domain.states import JobState, LeaseState
from cortex.schemas.jobs import JobPage, JobView
from tests.api.support import JOBS, check_problem, spec, submit
from tests.support.rows import set_job

PRICE = Offer(provider_id="local", price_per_hour=Money(amount=Decimal("0.6"), currency="USD"))


async def advance(database: Database, job_id: str, *states: JobState) -> None:
    async with database.transaction() as tx:
        for state in states:
            assert await tx.jobs.move(job_id, state) is not None


async def give_lease(database: Database, job_id: str) -> Lease:
    """A live lease with its hold of an hour, as placing and committing make it."""
    key = f"{job_id}-1"
    async with database.transaction() as tx:
        await tx.leases.add(key, job_id, 1, offer=PRICE)
        await tx.leases.move(key, LeaseState.RESERVED)
        lease = await tx.leases.move(key, LeaseState.ACTIVE)
        assert lease is not None
        await tx.ledger.add(lease, EntryKind.HOLD, PRICE.estimate(timedelta(hours=1)))
        await set_job(tx, job_id, attempt=1, provider_id="local", deadline_at=text("now()"))
    return lease


async def events_of(database: Database, job_id: str) -> list[str]:
    async with database.transaction() as tx:
        return [event.type.value for event in await tx.events.page(None, job_id=job_id)]


async def commands_of(database: Database, job_id: str) -> list[tuple[str, Any]]:
    query = text("SELECT kind, payload FROM commands WHERE job_id = :id ORDER BY id")
    async with database.transaction() as tx:
        return [(row[0], row[1]) for row in await tx.connection.execute(query, {"id": job_id})]


async def extension_of(database: Database, job_id: str) -> timedelta:
    async with database.transaction() as tx:
        return (await tx.jobs.get(job_id)).extension


class TestList:
    async def test_pages_cover_all_jobs_once_over_equal_times(
        self, client: httpx.AsyncClient
    ) -> None:
        jobs = [spec(name=f"n{number:02}") for number in range(25)]
        accepted = (await client.post(f"{JOBS}/batch", json={"jobs": jobs})).json()["jobs"]
        seen: list[str] = []
        cursor: str | None = None
        while True:
            params = {"limit": "10"} | ({"cursor": cursor} if cursor else {})
            answer = await client.get(JOBS, params=params)
            page = JobPage.model_validate_json(answer.content)
            assert len({job.created_at for job in page.items}) == 1
            seen += [job.id for job in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == [job["id"] for job in reversed(accepted)]

    async def test_filters_narrow(self, client: httpx.AsyncClient, database: Database) -> None:
        one = await submit(client, name="one", labels={"team": "a", "tier": "x"})
        two = await submit(client, name="two", labels={"team": "a"})
        three = await submit(client, name="three", labels={"team": "b"})
        await give_lease(database, two)
        await advance(database, three, JobState.PLACING)
        created = (await client.get(f"{JOBS}/{two}")).json()["created_at"]
        cases: list[tuple[list[tuple[str, str]], set[str]]] = [
            ([("state", "pending")], {one, two}),
            ([("state", "pending"), ("state", "placing")], {one, two, three}),
            ([("name", "one")], {one}),
            ([("provider", "local")], {two}),
            ([("owner", "local")], {one, two, three}),
            ([("owner", "nobody")], set()),
            ([("label", "team=a")], {one, two}),
            ([("label", "team=a"), ("label", "tier=x")], {one}),
            ([("created_after", created)], {two, three}),
            ([("created_before", created)], {one}),
            ([("created_after", created), ("name", "three"), ("label", "team=b")], {three}),
        ]
        for params, wanted in cases:
            answer = await client.get(JOBS, params=tuple(params))
            assert {job["id"] for job in answer.json()["items"]} == wanted, params

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({"cursor": "garbage!"}, "cursor"),
            ({"cursor": "YWJj"}, "cursor"),
            ({"limit": "0"}, "limit"),
            ({"limit": "501"}, "limit"),
            ({"state": "sleeping"}, "state[0]"),
            ({"label": "novalue"}, "label[0]"),
            ({"created_after": "yesterday"}, "created_after"),
        ],
    )
    async def test_a_bad_parameter_is_named(
        self, client: httpx.AsyncClient, params: dict[str, str], field: str
    ) -> None:
        problem = check_problem(await client.get(JOBS, params=params), 422, "invalid_request")
        assert [error.field for error in problem.errors] == [field]

    async def test_a_nul_in_the_query(self, client: httpx.AsyncClient) -> None:
        check_problem(await client.get(f"{JOBS}?name=a%00b"), 422, "invalid_request")


class TestGet:
    async def test_shows_leases_and_history(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        await advance(database, job_id, JobState.PLACING)
        await give_lease(database, job_id)
        job = JobView.model_validate_json((await client.get(f"{JOBS}/{job_id}")).content)
        assert [entry.state for entry in job.history] == ["pending", "placing"]
        assert len(job.leases) == 1
        assert job.leases[0].state == "active"
        assert job.leases[0].price_per_hour == PRICE.price_per_hour
        assert job.provider_id == "local"

    @pytest.mark.parametrize("job_id", ["job_01zzzzzzzzzzzzzzzzzzzzzzzz", "nonsense", "a%00b"])
    async def test_an_unknown_job(self, client: httpx.AsyncClient, job_id: str) -> None:
        for path in ("", "/logs", "/events", "/outputs", "/outputs/a.txt", "/ledger"):
            check_problem(await client.get(f"{JOBS}/{job_id}{path}"), 404, "not_found")
        check_problem(await client.post(f"{JOBS}/{job_id}/cancel"), 404, "not_found")
        extend = await client.post(f"{JOBS}/{job_id}/extend", json={"duration": "1m"})
        check_problem(extend, 404, "not_found")


class TestCancel:
    async def test_moves_and_tells_once(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        for reason in ("changed my mind", "again"):
            answer = await client.post(f"{JOBS}/{job_id}/cancel", json={"reason": reason})
            assert answer.status_code == 202
            job = JobView.model_validate_json(answer.content)
            assert (job.state, job.message) == ("cancelling", "cancel requested")
            assert job.cancel_requested_at is not None
        assert (await client.post(f"{JOBS}/{job_id}/cancel")).status_code == 202
        assert await commands_of(database, job_id) == [
            ("start", {}),
            ("cancel", {"reason": "changed my mind"}),
        ]
        assert await events_of(database, job_id) == [
            "job.submitted",
            "job.cancel.requested",
            "job.state.changed",
        ]

    @pytest.mark.parametrize("state", [JobState.SETTLING, JobState.FAILED])
    async def test_too_late(
        self, client: httpx.AsyncClient, database: Database, state: JobState
    ) -> None:
        job_id = await submit(client)
        await advance(database, job_id, JobState.PLACING, JobState.SETTLING)
        if state.terminal:
            await advance(database, job_id, state)
        for answer in (
            await client.post(f"{JOBS}/{job_id}/cancel"),
            await client.post(f"{JOBS}/{job_id}/extend", json={"duration": "1m"}),
        ):
            problem = check_problem(answer, 409, "job_already_ended")
            assert f"`{state.value}`" in problem.detail
        assert len(await commands_of(database, job_id)) == 1

    async def test_a_bad_body(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        path = f"{JOBS}/{job_id}/cancel"
        for body in ({"why": "x"}, {"reason": "x" * 501}, {"reason": "a\0b"}):
            check_problem(await client.post(path, json=body), 422, "invalid_request")


class TestExtend:
    async def test_moves_the_deadline_and_holds_more(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client, budget="2 USD")
        await give_lease(database, job_id)
        before = JobView.model_validate_json((await client.get(f"{JOBS}/{job_id}")).content)
        answer = await client.post(f"{JOBS}/{job_id}/extend", json={"duration": "2h"})
        assert answer.status_code == 202, answer.text
        job = JobView.model_validate_json(answer.content)
        assert job.deadline_at is not None
        assert before.deadline_at is not None
        assert job.deadline_at - before.deadline_at == timedelta(hours=2)
        ledger = (await client.get(f"{JOBS}/{job_id}/ledger")).json()["items"]
        assert [(entry["kind"], entry["amount"]["amount"]) for entry in ledger] == [
            ("hold", "0.6"),
            ("hold", "1.2"),
        ]
        over = await client.post(f"{JOBS}/{job_id}/extend", json={"duration": "30m"})
        assert "budget of 2 USD" in check_problem(over, 422, "over_budget").detail
        assert await commands_of(database, job_id) == [("start", {}), ("extend", {})]
        assert (await events_of(database, job_id))[-1] == "job.extended"

    async def test_the_same_key_extends_once(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        await give_lease(database, job_id)
        path, key = f"{JOBS}/{job_id}/extend", {"Idempotency-Key": "once"}
        answers = await asyncio.gather(
            *(client.post(path, json={"duration": "2h"}, headers=key) for _ in range(4))
        )
        assert [answer.status_code for answer in answers] == [202] * 4
        replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
        assert sorted(map(str, replayed)) == ["None", "true", "true", "true"]
        assert (await extension_of(database, job_id)) == timedelta(hours=2)
        assert (await events_of(database, job_id)).count("job.extended") == 1
        assert (await commands_of(database, job_id)).count(("extend", {})) == 1
        other = await client.post(path, json={"duration": "3h"}, headers=key)
        check_problem(other, 409, "idempotency_key_reused")
        await client.post(path, json={"duration": "1h"}, headers={"Idempotency-Key": "two"})
        assert (await extension_of(database, job_id)) == timedelta(hours=3)

    async def test_a_refused_request_may_be_sent_again_with_its_key(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        path, key = f"{JOBS}/{job_id}/extend", {"Idempotency-Key": "again"}
        await client.post(f"{JOBS}/{job_id}/cancel")
        body = {"duration": "1m"}
        check_problem(await client.post(path, json=body, headers=key), 409, "conflict")
        check_problem(await client.post(path, json=body, headers=key), 409, "conflict")
        assert not await extension_of(database, job_id)

    async def test_a_limit_says_what_is_left(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        path = f"{JOBS}/{job_id}/extend"
        answer = await client.post(path, json={"duration": "31d"})
        detail = check_problem(answer, 422, "invalid_request").detail
        assert "this server allows 30d, so at most 29d23h more" in detail
        assert (await client.post(path, json={"duration": "29d23h"})).status_code == 202
        answer = await client.post(path, json={"duration": "1s"})
        assert "nothing is left" in check_problem(answer, 422, "invalid_request").detail

    async def test_without_a_lease_only_the_length_counts(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client, budget="0.02 USD")
        path = f"{JOBS}/{job_id}/extend"
        assert (await client.post(path, json={"duration": "1d"})).status_code == 202
        async with database.transaction() as tx:
            assert (await tx.jobs.get(job_id)).extension == timedelta(days=1)

    @pytest.mark.parametrize("duration", ["29d23h1s", "-1", "0", "soon"])
    async def test_a_bad_duration(self, client: httpx.AsyncClient, duration: str) -> None:
        job_id = await submit(client)
        answer = await client.post(f"{JOBS}/{job_id}/extend", json={"duration": duration})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["duration"]

    async def test_not_while_it_is_cancelled(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        await client.post(f"{JOBS}/{job_id}/cancel")
        answer = await client.post(f"{JOBS}/{job_id}/extend", json={"duration": "1m"})
        check_problem(answer, 409, "conflict")
