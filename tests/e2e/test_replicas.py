"""Two API replicas on one database: whichever answers, nothing is lost or doubled."""

import asyncio
import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal

import httpx
import pytest
from websockets.asyncio.client import connect

from cortex.client import AsyncCortex
from cortex.embedded.config import free_ports
from cortex.schemas.events import EventView
from tests.e2e.support import check_books, shell
from tests.support import eventually, patience
from tests.support.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
async def replica(stack: Stack) -> AsyncIterator[AsyncCortex]:
    """A second API server."""
    port = free_ports(1)[0]
    environment = {**stack.environment(), "CORTEX_API__PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "api"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    async def ready() -> bool:
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"{url}/health/ready")).status_code == 200
        except httpx.TransportError:
            return False

    try:
        await eventually(ready, within=60, what="the second API")
        async with AsyncCortex(url, stack.config.api_key) as client:
            yield client
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), patience(45))


def ended(events: list[EventView]) -> set[str | None]:
    return {
        event.cortexjob
        for event in events
        if event.data.get("state") in ("completed", "failed", "cancelled")
    }


async def take(
    server: AsyncCortex, *, after: str, count: int | None = None, until: set[str] | None = None
) -> list[EventView]:
    """Follow all events on one server: so many of them, or until these jobs have ended."""
    got: list[EventView] = []
    stream = server.events(follow=True, after=after)
    async with asyncio.timeout(patience(60)), aclosing(stream):  # type: ignore[type-var]
        async for event in stream:
            got.append(event)
            if len(got) == count or (until and until <= ended(got)):
                break
    return got


async def latest(stack: Stack) -> str:
    """The place of the newest event."""
    job = await stack.client.run(shell("echo"))
    return [event async for event in stack.client.events(job.id)][-1].cortexposition


class TestEvents:
    async def test_all_arrive_in_order_on_the_other_replica(
        self, stack: Stack, replica: AsyncCortex
    ) -> None:
        begin = await latest(stack)
        submitting = [stack.client.submit(shell(f"echo {n}")) for n in range(15)]
        first = asyncio.ensure_future(take(replica, after=begin, count=15 * 11))
        ids = {job.id for job in await asyncio.gather(*submitting)}
        got = await first
        rest = (
            await take(replica, after=got[-1].cortexposition, until=ids - ended(got))
            if (ids - ended(got))
            else []
        )
        await check_complete(stack, begin, [*got, *rest], ids)

    async def test_resumed_on_one_and_the_other(self, stack: Stack, replica: AsyncCortex) -> None:
        begin = await latest(stack)
        batch = await stack.client.submit_batch([shell(f"sleep 0.{n}") for n in range(10)])
        ids = {job.id for job in batch.jobs}
        got: list[EventView] = []
        servers = (replica, stack.client)
        turn = 0
        while not ids <= ended(got):
            place = got[-1].cortexposition if got else begin
            got += await take(servers[turn % 2], after=place, count=7, until=ids - ended(got))
            turn += 1
        assert turn > 3
        await check_complete(stack, begin, got, ids)


class TestLive:
    async def test_a_websocket_killed_and_resumed_in_a_run_of_500_jobs(
        self, stack: Stack, replica: AsyncCortex
    ) -> None:
        """Now at this replica, now at the other one."""
        begin = await latest(stack)
        urls = [replica.connection.url, stack.client.connection.url]
        head = {"authorization": f"Bearer {stack.config.api_key}"}
        specs = [{"name": "n", "command": ["true"], "placement": {"providers": ["local"]}}] * 500
        batch = await stack.client.submit_batch(specs)
        ids = {job.id for job in batch.jobs}
        got: list[EventView] = []
        turn = 0
        while not ids <= ended(got):
            place = got[-1].cortexposition if got else begin
            address = f"{urls[turn % 2].replace('http', 'ws', 1)}/api/v1/ws"
            async with connect(address, additional_headers=head) as socket:
                message = {"type": "subscribe", "id": "all", "after": place}
                await socket.send(json.dumps(message))
                for _ in range(400):
                    async with asyncio.timeout(patience(60)):
                        heard = json.loads(await socket.recv())
                    if heard["type"] == "event":
                        got.append(EventView.model_validate(heard["event"]))
                    if ids <= ended(got):
                        break
                socket.transport.abort()
            turn += 1
        assert turn > 5
        await check_complete(stack, begin, got, ids)


async def check_complete(stack: Stack, begin: str, got: list[EventView], ids: set[str]) -> None:
    """What came is, one by one, what the server keeps: nothing lost, doubled or out of order."""
    stored = [event async for event in stack.client.events(after=begin)]
    assert [event.id for event in got] == [event.id for event in stored][: len(got)]
    assert ended(stored) == ids
    assert max(Counter(event.id for event in got).values()) == 1


class TestSubmissions:
    async def test_sixty_jobs_from_eight_clients_each_posted_twice(
        self, stack: Stack, replica: AsyncCortex
    ) -> None:
        """The same POST, twice at once and on both replicas, is one job with one charge."""
        label = uuid.uuid4().hex
        urls = (stack.config.api_url, replica.connection.url)
        work = [
            (f"{label}-{n}", shell(f"exit {n % 2}", labels={"run": label}).model_dump(mode="json"))
            for n in range(60)
        ]
        answers: dict[str, set[str]] = {key: set() for key, _ in work}

        async def client(mine: list[tuple[str, dict[str, object]]]) -> None:
            headers = {"X-API-Key": stack.config.api_key}
            async with httpx.AsyncClient(headers=headers, timeout=30) as http:

                async def post(url: str, key: str, body: dict[str, object]) -> None:
                    answer = await http.post(
                        f"{url}/api/v1/jobs", json=body, headers={"Idempotency-Key": key}
                    )
                    assert answer.status_code == 202, answer.text
                    answers[key].add(answer.json()["id"])

                for key, body in mine:
                    await asyncio.gather(*(post(url, key, body) for url in (*urls, urls[0])))

        await asyncio.gather(*(client(work[number::8]) for number in range(8)))
        assert all(len(told) == 1 for told in answers.values())
        ids = [next(iter(told)) for told in answers.values()]
        assert len(set(ids)) == 60

        async def all_ended() -> bool:
            query = f"SELECT state FROM jobs WHERE labels->>'run' = '{label}'"
            rows = await stack.rows(query)
            assert len(rows) == 60
            return {row["state"] for row in rows} <= {"completed", "failed"}

        await eventually(all_ended, within=60, what="the end of 60 jobs")
        bills = await check_books(stack, ids)
        report = await stack.client.costs("label:run")
        row = next(row for row in report.rows if row.group == label)
        assert (row.jobs, row.charged.amount) == (60, bills)
        assert row.held.amount == Decimal(0)
