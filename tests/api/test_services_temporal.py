"""The API with a real Temporal server: starts, signals, quotes, readiness."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
from sqlalchemy import text
from temporalio import workflow
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from cortex.db.engine import Database
from cortex.domain.conditions import Conditions, SecretLimits
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer
from cortex.schemas.jobs import Quote
from cortex.schemas.server import Health
from cortex.services.jobs import quotes
from cortex.settings import Settings, TemporalSettings
from cortex.temporal.client import connect, prepare_namespace
from cortex.temporal.contracts import (
    QUOTE_WORKFLOW,
    TASK_QUEUE,
    ProviderAnswer,
    QuoteInput,
    QuoteResult,
)
from tests.api.support import JOBS, check_problem, client_of, eventually, spec, submit
from tests.support import soon
from tests.support.providers import known_provider


@pytest.fixture(scope="module")
async def namespace(temporal: Client) -> Client:
    """A namespace of its own: nobody else's workers poll its queues."""
    settings = TemporalSettings(
        address=temporal.service_client.config.target_host, namespace=f"api-{uuid.uuid4().hex[:8]}"
    )
    client = await connect(settings, lazy=False)
    while True:
        try:
            await prepare_namespace(client, timedelta(days=1))
            await client.count_workflows()
            return client
        except RPCError:  # it takes the server a moment to know it everywhere
            await asyncio.sleep(0.2)


@pytest.fixture
async def client(
    settings: Settings, namespace: Client, providers: None
) -> AsyncIterator[httpx.AsyncClient]:
    address = namespace.service_client.config.target_host
    there = settings.temporal.model_copy(
        update={"address": address, "namespace": namespace.namespace}
    )
    async with client_of(settings.model_copy(update={"temporal": there})) as http:
        yield http


@workflow.defn(name=QUOTE_WORKFLOW)
class TwoOffers:
    @workflow.run
    async def run(self, wanted: QuoteInput) -> QuoteResult:
        price = Money(amount=Decimal("0.5"), currency="USD")
        return QuoteResult(
            offers=(
                Offer(provider_id="local", price_per_hour=price, data={"secret": "bid"}),
                Offer(provider_id="docker", price_per_hour=price * 2),
            ),
            rejected=(ProviderAnswer(provider_id="akash", reasons=("it is asleep",)),),
        )


def worker(client: Client) -> Worker:
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[TwoOffers],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


async def open_commands(database: Database) -> int:
    async with database.transaction() as tx:
        count = await tx.connection.scalar(
            text("SELECT count(*) FROM commands WHERE done_at IS NULL")
        )
    return int(count or 0)


async def all_delivered(database: Database) -> None:
    async def delivered() -> bool:
        return await open_commands(database) == 0

    await eventually(delivered)


class TestDelivery:
    async def test_starts_the_workflow_and_signals_it_without_a_relay(
        self, client: httpx.AsyncClient, namespace: Client, database: Database
    ) -> None:
        job_id = await submit(client, labels={"team": "a"})
        await all_delivered(database)
        handle = namespace.get_workflow_handle(job_id)
        assert (await handle.describe()).workflow_type == "Job"
        await client.post(f"{JOBS}/{job_id}/extend", json={"duration": "1m"})
        await all_delivered(database)
        await client.post(f"{JOBS}/{job_id}/cancel", json={"reason": "enough"})
        await all_delivered(database)
        signals = [
            event.workflow_execution_signaled_event_attributes.signal_name
            async for event in handle.fetch_history_events()
            if event.HasField("workflow_execution_signaled_event_attributes")
        ]
        assert signals == ["extend", "cancel"]

    async def test_a_signal_waits_for_the_commands_before_it(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        await all_delivered(database)
        async with database.transaction() as tx:
            await tx.commands.add(job_id, "extend", delay=timedelta(hours=1))
        await client.post(f"{JOBS}/{job_id}/cancel")
        await asyncio.sleep(0.5)
        assert await open_commands(database) == 2

    async def test_the_relay_leaves_a_new_command_alone(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await submit(client)
        async with database.transaction() as tx:
            assert await tx.commands.claim(10, timedelta(seconds=30)) == []


class TestQuotes:
    async def test_offers_come_from_the_workers(
        self, client: httpx.AsyncClient, namespace: Client
    ) -> None:
        async with worker(namespace):
            answer = await client.post("/api/v1/quotes", json=spec(duration="2h"))
        assert answer.status_code == 200, answer.text
        quote = Quote.model_validate_json(answer.content)
        assert [
            (offer.rank, offer.offer.provider_id, str(offer.most)) for offer in quote.offers
        ] == [
            (1, "local", "1 USD"),
            (2, "docker", "2 USD"),
        ]
        assert quote.offers[0].offer.data == {}
        assert quote.objections[0].reasons == ("it is asleep",)

    async def test_secrets_that_are_too_large(
        self, client: httpx.AsyncClient, namespace: Client, database: Database
    ) -> None:
        """The workers do not see them."""
        limits = SecretLimits(largest=5, most=9, hint="make it shorter")
        demands = Conditions(secret_limits=limits)
        async with database.transaction() as tx:
            can = Capabilities(images=True, processes=True, conditions=demands)
            await known_provider(tx, "docker", "docker", capabilities=can)
        async with worker(namespace):
            body = spec(secret_env={"TOKEN": "longer than that"})
            answer = await client.post("/api/v1/quotes", json=body)
        quote = Quote.model_validate_json(answer.content)
        assert [(offer.rank, offer.offer.provider_id) for offer in quote.offers] == [(1, "local")]
        assert {objection.provider_id: objection.reasons for objection in quote.objections}[
            "docker"
        ] == ("`secret_env.TOKEN` is larger than the 5 that can be sealed; make it shorter",)

    async def test_without_a_worker_it_says_so(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(quotes, "_WAIT", 1.5)
        with soon(5):
            answer = await client.post("/api/v1/quotes", json=spec())
        problem = check_problem(answer, 503, "service_unavailable")
        assert "no worker answered" in problem.detail

    async def test_an_unknown_provider(self, client: httpx.AsyncClient) -> None:
        bad = spec(placement={"providers": ["nope"]})
        answer = await client.post("/api/v1/quotes", json=bad)
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == "placement.providers"


class TestReadiness:
    async def test_ready_once_a_worker_polls(
        self, client: httpx.AsyncClient, namespace: Client
    ) -> None:
        async def ready() -> bool:
            return (await client.get("/health/ready")).status_code == 200

        async with worker(namespace):
            await eventually(ready)
            answer = await client.get("/health/ready")
        health = Health.model_validate_json(answer.content)
        assert [check.name for check in health.checks] == ["database", "temporal", "workers"]
