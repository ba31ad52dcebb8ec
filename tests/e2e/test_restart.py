"""The whole stack ends and starts again under running jobs: they go on."""

import asyncio
import os
import signal
import time

import psutil
import pytest

from tests.e2e.support import Command, check_books, shell, started
from tests.support import eventually, patience, soon
from tests.support.stack import Stack

pytestmark = pytest.mark.e2e


def lives(pid: int) -> bool:
    """The supervisor is this process's child: ended, it stays as a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class TestRestart:
    async def test_ctrl_c_with_five_running_jobs(self, stack: Stack, cortex: Command) -> None:
        """Some end while nothing of the stack runs, the others afterwards."""
        seconds = (3, 3, 3, 14, 14)
        jobs = [
            await stack.client.submit(shell(f"sleep {length}; echo ended; exit {n}"))
            for n, length in enumerate(seconds)
        ]
        ids = [job.id for job in jobs]
        await started(stack, ids)
        pids = [stack.pid(name) for name in ("supervisor", "api", "worker", "temporal", "postgres")]
        begun = time.monotonic()
        os.kill(pids[0], signal.SIGINT)

        async def gone() -> bool:
            return not any(map(lives, pids))

        with soon(8):
            await eventually(gone, within=60, what="the end of the stack")
        assert (await cortex("jobs", code=3)).out == ""
        await asyncio.sleep(max(0, begun + 4 - time.monotonic()))
        await stack.start()
        ended = [await stack.client.wait(job_id, timeout=patience(60)) for job_id in ids]
        assert [job.exit_code for job in ended] == [0, 1, 2, 3, 4]
        assert [job.attempt for job in ended] == [1] * 5
        for job_id in ids:
            assert [line.text async for line in stack.client.logs(job_id)] == ["ended"]
        await check_books(stack, ids)
