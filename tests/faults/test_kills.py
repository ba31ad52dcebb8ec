"""Kill -9 of every process in turn while jobs run: each job ends, nothing leaks, one bill each."""

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from cortex.domain.spec import JobSpec
from cortex.domain.states import JOB_TRANSITIONS, JobState
from cortex.embedded import StackConfig, detach
from tests.support import eventually
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.faults

JOBS = 50
VICTIMS = ("worker", "api", "temporal", "postgres")


def specs(count: int, mark: str, seconds: float) -> list[JobSpec]:
    """Jobs that run for some seconds and exit with their number modulo 3."""
    return [
        JobSpec.model_validate(
            {
                "name": f"victim-{number}",
                "command": ["sh", "-c", f"sleep {seconds}; echo {mark}; exit {number % 3}"],
                "resources": {"cpu": "10m", "memory": "64Mi"},
            }
        )
        for number in range(count)
    ]


async def all_ended(stack: Stack, ids: Sequence[str], within: float) -> None:
    wanted = len(ids)

    async def check() -> bool:
        query = "SELECT count(*) AS n FROM jobs WHERE state IN ('completed','failed','cancelled')"
        return (await stack.rows(query))[0]["n"] == wanted

    await eventually(check, within=within, what="the end of all jobs")


async def check_promise(stack: Stack, ids: Sequence[str], mark: str) -> None:
    """Every job ended rightly, every lease is released, every charge is booked exactly once."""
    jobs = {row["id"]: row for row in await stack.rows("SELECT * FROM jobs")}
    assert set(jobs) == set(ids)
    for number, job_id in enumerate(ids):
        assert jobs[job_id]["exit_code"] == number % 3, jobs[job_id]
        assert jobs[job_id]["state"] == ("completed" if number % 3 == 0 else "failed")
    leases = await stack.rows("SELECT key, state, committed_at FROM leases")
    assert {row["state"] for row in leases} == {"released"}
    charges = await stack.rows("SELECT lease_key FROM ledger WHERE kind = 'charge'")
    committed = [row["key"] for row in leases if row["committed_at"] is not None]
    assert sorted(str(row["lease_key"]) for row in charges) == sorted(map(str, committed))
    assert len(committed) >= len(ids)
    releases = await stack.rows("SELECT lease_key FROM ledger WHERE kind = 'release'")
    assert sorted(str(r["lease_key"]) for r in releases) == sorted(str(r["key"]) for r in leases)
    assert not stack.leases_on_disk()
    assert not stack.processes(mark)
    await check_histories(stack, ids)


async def check_histories(stack: Stack, ids: Sequence[str]) -> None:
    rows = await stack.rows("SELECT job_id, state FROM job_status ORDER BY id")
    for job_id in ids:
        states = [JobState(str(row["state"])) for row in rows if row["job_id"] == job_id]
        assert states[0] == JobState.PENDING
        for before, after in zip(states, states[1:], strict=False):
            assert after in JOB_TRANSITIONS[before], states


async def wait_running(stack: Stack, count: int) -> None:
    async def check() -> bool:
        rows = await stack.rows("SELECT count(*) AS n FROM jobs WHERE started_at IS NOT NULL")
        return int(str(rows[0]["n"])) >= count

    await eventually(check, within=60, what=f"{count} started jobs")


class TestKills:
    async def test_each_process_in_turn_while_fifty_jobs_run(self, stack_folder: Path) -> None:
        mark = uuid.uuid4().hex
        async with running_stack(stack_folder) as stack:
            accepted = await stack.client.submit_batch(specs(JOBS, mark, 20))
            ids = [job.id for job in accepted.jobs]
            await wait_running(stack, 5)
            for victim in VICTIMS:
                former = stack.pid(victim)
                stack.kill(victim)
                await stack.back(victim, former)
                await asyncio.sleep(1)
            await all_ended(stack, ids, within=180)
            await check_promise(stack, ids, mark)


class TestSupervisor:
    async def test_killed_stack_goes_on_where_it_was(self, stack_folder: Path) -> None:
        mark = uuid.uuid4().hex
        async with running_stack(stack_folder) as stack:
            accepted = await stack.client.submit_batch(specs(10, mark, 8))
            ids = [job.id for job in accepted.jobs]
            await wait_running(stack, 10)
            stack.kill("supervisor")
            await asyncio.sleep(1)
            await detach(StackConfig.load(stack_folder))
            await all_ended(stack, ids, within=120)
            await check_promise(stack, ids, mark)
