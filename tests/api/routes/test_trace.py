"""The explorer without Temporal: the database alone tells what it knows, and says so."""

from datetime import timedelta

import httpx
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.ids import lease_key
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind
from cortex.domain.offers import Offer
from cortex.domain.trace.model import Phase, StepState, Trace
from cortex.schemas.trace import StuckPage
from tests.api.support import JOBS, check_problem, spec, submit

NO_JOB = "job_01j00000000000000000000000"
NO_GROUP = "grp_01j00000000000000000000000"


class TestTrace:
    async def test_of_a_job_that_waits_for_temporal(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client, secret_env={"TOKEN": "very-secret-4711"})
        answer = await client.get(f"{JOBS}/{job_id}/trace")
        assert "very-secret-4711" not in answer.text
        trace = Trace.model_validate_json(answer.content)
        assert trace.temporal == "away"
        assert "Temporal does not answer" in trace.notes[0]
        assert [(step.phase, step.state) for step in trace.steps] == [
            (Phase.ACCEPT, StepState.DONE),
            (Phase.START, StepState.WAITING),
            (Phase.CLOSE, StepState.WAITING),
        ]
        start = trace.steps[1]
        assert start.known == "not delivered yet"
        assert start.next_try_at is not None

    async def test_a_cancel_shows_who_waits(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        await client.post(f"{JOBS}/{job_id}/cancel", json={"reason": "wrong input"})
        answer = await client.get(f"{JOBS}/{job_id}/trace")
        trace = Trace.model_validate_json(answer.content)
        stop = next(step for step in trace.steps if step.phase is Phase.STOP)
        assert stop.state is StepState.WAITING
        assert "asked to stop: wrong input" in stop.known
        assert stop.to == f"workflow `{job_id}`"

    async def test_of_a_group(self, client: httpx.AsyncClient, database: Database) -> None:
        trio = {
            "name": "trio",
            "jobs": [{**spec(), "name": name} for name in ("a", "b")]
            + [{**spec(), "name": "c", "after": ["a"]}],
        }
        answer = await client.post("/api/v1/groups", json=trio)
        assert answer.status_code == 202, answer.text
        group_id = answer.json()["id"]
        async with database.transaction() as tx:
            await tx.connection.execute(
                text(
                    "UPDATE job_gangs SET decision = 'aborted', reason = 'b has no offer', "
                    "started_at = now(), decided_at = now() WHERE gang = 0"
                )
            )
        answer = await client.get(f"/api/v1/groups/{group_id}/trace")
        trace = Trace.model_validate_json(answer.content)
        assert (trace.kind, trace.temporal) == ("group", "away")
        assert [participant.member for participant in trace.participants] == ["a", "b", "c"]
        verdicts = {step.part: step for step in trace.steps if step.phase is Phase.VERDICT}
        assert verdicts["gang 0"].known == "aborted: b has no offer"
        assert verdicts["gang 1"].state is StepState.WAITING
        held = [step for step in trace.steps if step.job_id and step.phase is Phase.START]
        assert {step.known for step in held} == {"its group has not started it yet"}

    async def test_of_nothing(self, client: httpx.AsyncClient) -> None:
        check_problem(await client.get(f"{JOBS}/{NO_JOB}/trace"), 404, "not_found")
        answer = await client.get(f"/api/v1/groups/{NO_GROUP}/trace")
        check_problem(answer, 404, "not_found")


class TestStuck:
    async def test_a_start_that_nobody_takes(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        assert await stuck(client) == StuckPage(items=(), total=0)
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("UPDATE job_status SET created_at = created_at - interval '1 hour'")
            )
        (stuck_job,) = (await stuck(client)).items
        assert (stuck_job.id, stuck_job.state, stuck_job.step) == (
            job_id,
            "pending",
            "start its workflow",
        )
        assert stuck_job.may == ("retry", "cancel")


class TestResolve:
    async def test_without_temporal_nothing_is_done(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        retry = {"action": "retry", "reason": "now"}
        answer = await client.post(f"{JOBS}/{job_id}/resolve", json=retry)
        check_problem(answer, 503, "temporal_unavailable")
        async with database.transaction() as tx:
            entries = await tx.connection.execute(text("SELECT action FROM audit_log"))
            assert list(entries.scalars()) == ["job.submit"]

    async def test_a_slip_of_the_hand_is_not_booked(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        """More than is held, than the network told and than the time it ran at its price."""
        job_id = await submit(client)
        offer = Offer(provider_id="local", price_per_hour=Money.model_validate("0.50 USD"))
        async with database.transaction() as tx:
            key = lease_key(job_id, 1)
            await tx.leases.add(key, job_id, 1, offer=offer)
            (lease,) = await tx.leases.of_job(job_id)
            await tx.ledger.add(lease, EntryKind.HOLD, offer.estimate(timedelta(hours=2)))

        async def settle(amount: str, **more: bool) -> httpx.Response:
            body = {"action": "settle", "amount": amount, "reason": "so", **more}
            return await client.post(f"{JOBS}/{job_id}/resolve", json=body)

        async def taken(amount: str, **more: bool) -> None:
            """As far as can be without Temporal."""
            check_problem(await settle(amount, **more), 503, "temporal_unavailable")

        problem = check_problem(await settle("1000000 USD"), 422, "invalid_request")
        assert problem.errors[0].field == "amount"
        words = f"is 1000000 USD, and the lease `{key}` can have cost 1 USD at most"
        assert words in problem.detail
        check_problem(await settle("1.000000001 USD"), 422, "invalid_request")
        await taken("1 USD")
        await taken("0 USD")
        await taken("1000000 USD", force=True)
        async with database.transaction() as tx:
            told = "usage_amount = 3, usage_currency = 'USD', usage_usd = 3, usage_at = now()"
            await tx.connection.execute(text(f"UPDATE leases SET {told}"))
        await taken("3 USD")
        check_problem(await settle("3.01 USD"), 422, "invalid_request")
        async with database.transaction() as tx:
            ran = "committed_at = now() - interval '10 hours'"
            await tx.connection.execute(text(f"UPDATE leases SET {ran}"))
        await taken("5 USD")
        check_problem(await settle("5.01 USD"), 422, "invalid_request")

    async def test_of_nothing(self, client: httpx.AsyncClient) -> None:
        retry = {"action": "retry", "reason": "now"}
        answer = await client.post(f"{JOBS}/{NO_JOB}/resolve", json=retry)
        check_problem(answer, 404, "not_found")


async def stuck(client: httpx.AsyncClient) -> StuckPage:
    return StuckPage.model_validate_json((await client.get("/api/v1/stuck")).content)
