"""The data folder's disk is full while jobs run: clear answers, and all accepted jobs end well."""

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex.client import ApiError, AsyncCortex
from cortex.client.retry import NO_RETRY
from cortex.disk import Disk
from cortex.domain.states import JobState
from cortex.embedded import stack_status
from tests.e2e.support import check_books, shell, started
from tests.support import eventually, patience
from tests.support.disks import small_disk
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.e2e

_SIZE = "260m"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of its own for a data folder."""
    with small_disk(_SIZE) as folder:
        yield folder


def fill(folder: Path) -> Path:
    """Write until there is no room for one more byte."""
    ballast = folder / "ballast"
    handle = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (2**20, 4096, 1):
            while _written(handle, size):
                pass
    finally:
        os.close(handle)
    return ballast


def _written(handle: int, size: int) -> bool:
    try:
        return os.write(handle, b"\0" * size) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


class TestDiskFull:
    async def test_accepted_jobs_end_well_once_there_is_room(self, disk: Path) -> None:
        async with running_stack(disk / "data") as stack:
            running = [
                await stack.client.submit(shell(f"sleep 3; echo {n} | tee r.txt; exit {n}"))
                for n in range(4)
            ]
            await started(stack, [job.id for job in running])
            ballast = fill(disk)
            accepted, refused = await submit_for(stack, seconds=8)
            assert len(accepted) > 8, "the servers had no room left"
            for error in refused:
                assert error.code in ("database_unavailable", "service_unavailable"), error
            ballast.unlink()
            ids = [job.id for job in running] + accepted
            ended = {
                job_id: await stack.client.wait(job_id, timeout=patience(90)) for job_id in ids
            }
            assert [ended[job.id].exit_code for job in running] == [0, 1, 2, 3]
            assert all(ended[job_id].exit_code == 0 for job_id in accepted)
            assert (await stack.client.run(shell("exit 3"), timeout=patience(60))).exit_code == 3
            await check_books(stack, ids)

    async def test_a_job_that_writes_without_end_ends_alone(self, disk: Path) -> None:
        script = "mkdir out; echo 42 > out/result; cat /dev/zero > out/big; sleep 600"
        async with running_stack(disk / "data") as stack:
            writer = await stack.client.submit(shell(script, outputs=["out/"]))
            others, refused = await submit_for(stack, seconds=5)
            ended = await stack.client.wait(writer.id, timeout=patience(60))
            assert (ended.state, ended.exit_code) == (JobState.FAILED, 137)
            assert "the disk is nearly full, and of all jobs on it this one took the most" in (
                ended.message
            )
            assert [file.path for file in await stack.client.outputs(writer.id)] == ["out/result"]
            assert "not kept: `out/big` had " in ended.leases[0].message
            assert refused == []
            for job_id in others:
                assert (await stack.client.wait(job_id, timeout=patience(60))).exit_code == 0
            assert (await stack.client.health()).status == "ok"
            await check_books(stack, [writer.id, *others])

            async def freed() -> bool:
                return not Disk.of(disk).low and not stack.leases_on_disk()

            await eventually(freed, what="the room that the job took")
            status = stack_status(stack.config.data_dir)
            assert [part.restarts for part in status.processes] == [0, 0, 0, 0]


async def submit_for(stack: Stack, *, seconds: float) -> tuple[list[str], list[ApiError]]:
    """Submit a job every half second; the accepted ones, and the refusals."""
    accepted: list[str] = []
    refused: list[ApiError] = []
    config = stack.config
    async with AsyncCortex(config.api_url, config.api_key, retry=NO_RETRY) as client:
        for _ in range(int(seconds * 2)):
            try:
                accepted.append((await client.submit(shell("true"))).id)
            except ApiError as error:
                refused.append(error)
            await asyncio.sleep(0.5)
    return accepted, refused
