"""What the stack stands on is stopped or killed: clear answers meanwhile, all well afterwards."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from cortex.domain.states import JobState
from tests.e2e.support import check_books, shell, started
from tests.support import eventually, patience, soon
from tests.support.stack import Stack

pytestmark = pytest.mark.e2e

_HELLO = {"name": "hello", "command": ["true"], "resources": {"cpu": "10m", "memory": "64Mi"}}


async def ready(
    http: httpx.AsyncClient, status: int, within: float = 30, *, away: str = ""
) -> dict[str, str]:
    """Wait for this answer of /health/ready; what is wrong, by the name of the check.

    With `away`, for one in which this check fails: another one may do so just before.
    """
    failing: dict[str, str] = {}

    async def there() -> bool:
        try:
            answer = await http.get("/health/ready")
        except httpx.TransportError:
            return False
        if answer.status_code == status:
            checks = answer.json()["checks"]
            failing.clear()
            failing.update({c["name"]: c.get("detail", "") for c in checks if not c["ok"]})
        return answer.status_code == status and (not away or away in failing)

    await eventually(there, within=within, what=f"/health/ready answering {status}")
    return failing


async def refused(http: httpx.AsyncClient, method: str, path: str, body: object = None) -> None:
    """The database is away: so says the answer, and soon."""
    with soon(8):
        answer = await http.request(method, f"/api/v1{path}", json=body)
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "database_unavailable"
    assert "Retry-After" in answer.headers


class TestDatabase:
    async def test_frozen(self, stack: Stack, http: httpx.AsyncClient) -> None:
        job = await stack.client.submit(shell("sleep 1; exit 4"))
        await started(stack, [job.id])
        with stack.frozen("postgres"):
            await asyncio.gather(
                refused(http, "GET", "/jobs"),
                refused(http, "GET", f"/jobs/{job.id}"),
                refused(http, "POST", "/jobs", _HELLO),
            )
            assert "database" in await ready(http, 503, away="database")
            assert (await http.get("/health/live")).status_code == 200
        await ready(http, 200)
        assert (await stack.client.wait(job.id, timeout=patience(60))).exit_code == 4
        assert (await stack.client.run(_HELLO, timeout=patience(60))).state is JobState.COMPLETED
        await check_books(stack, [job.id])

    async def test_killed(self, stack: Stack, http: httpx.AsyncClient) -> None:
        jobs = [await stack.client.submit(shell(f"sleep 1; exit {n}")) for n in (5, 6)]
        await started(stack, [job.id for job in jobs])
        former = stack.pid("postgres")
        stack.kill("postgres")
        answer = await http.get("/api/v1/jobs")
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 503:
            assert answer.json()["code"] == "database_unavailable"
        await stack.back("postgres", former)
        await ready(http, 200)
        for job, code in zip(jobs, (5, 6), strict=True):
            assert (await stack.client.wait(job.id, timeout=patience(60))).exit_code == code
        await check_books(stack, [job.id for job in jobs])


class TestTemporal:
    async def test_frozen(self, stack: Stack, http: httpx.AsyncClient) -> None:
        before = await stack.client.submit(shell("sleep 2; exit 3"))
        await started(stack, [before.id])
        with stack.frozen("temporal"):
            answers = await asyncio.gather(
                *(http.post("/api/v1/jobs", json=_HELLO) for _ in range(5))
            )
            assert [answer.status_code for answer in answers] == [202] * 5
            away = await ready(http, 503, away="temporal")
            assert "does not answer" in away["temporal"]
            ids = [answer.json()["id"] for answer in answers]
            assert (await stack.client.job(ids[0])).state is JobState.PENDING
            cancelled = await http.post(f"/api/v1/jobs/{ids[0]}/cancel")
            assert cancelled.status_code == 202, cancelled.text
        await ready(http, 200)
        ended = [await stack.client.wait(job_id, timeout=patience(60)) for job_id in ids]
        assert [job.state for job in ended[1:]] == [JobState.COMPLETED] * 4
        assert ended[0].state is JobState.CANCELLED
        assert (await stack.client.wait(before.id, timeout=patience(60))).exit_code == 3
        await check_books(stack, [before.id, *ids])


@asynccontextmanager
async def second_worker(stack: Stack) -> AsyncIterator[None]:
    """Another worker of the same stack, killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "worker"),
        env=stack.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


class TestWorker:
    async def test_frozen_while_another_takes_over(self, stack: Stack) -> None:
        """The first one's attempts wake up as zombies: nothing happens twice."""
        mark = uuid.uuid4().hex
        script = "sleep 1; echo {mark}; exit {code}"
        jobs = [
            await stack.client.submit(shell(script.format(mark=mark, code=n))) for n in range(6)
        ]
        await started(stack, [job.id for job in jobs[:2]])
        async with second_worker(stack):
            with stack.frozen("worker"):
                late = await stack.client.submit_batch(
                    [shell(script.format(mark=mark, code=n)) for n in range(6)]
                )
                ids = [job.id for job in jobs] + [job.id for job in late.jobs]
                waits = [asyncio.ensure_future(stack.client.wait(job_id)) for job_id in ids]
                await asyncio.wait(waits, timeout=12)
            ended = await asyncio.wait_for(asyncio.gather(*waits), patience(90))
        assert [job.exit_code for job in ended] == [*range(6), *range(6)]
        # Awake again, and alone.
        assert (await stack.client.run(_HELLO, timeout=patience(60))).state is JobState.COMPLETED
        again = [await stack.client.job(job_id) for job_id in ids]
        assert [(job.state, job.cost, job.attempt) for job in again] == [
            (job.state, job.cost, 1) for job in ended
        ]
        await check_books(stack, ids)
        assert not stack.processes(mark)

    async def test_frozen_alone(self, stack: Stack) -> None:
        """Longer than its heartbeats may be late; then it goes on with what it had in hand."""
        jobs = [await stack.client.submit(shell(f"sleep 3; exit {n}")) for n in range(4)]
        await started(stack, [jobs[0].id])
        with stack.frozen("worker"):
            await asyncio.sleep(11)
        ended = [await stack.client.wait(job.id, timeout=patience(90)) for job in jobs]
        assert [job.exit_code for job in ended] == [0, 1, 2, 3]
        await check_books(stack, [job.id for job in jobs])
