"""Jobs that behave badly: each ends, nothing of it stays, its bill is booked."""

import uuid
from pathlib import Path

import psutil
import pytest

from cortex.domain.states import JobState
from tests.e2e.support import Command, check_books, shell, started
from tests.support import eventually, patience
from tests.support.stack import Stack

pytestmark = pytest.mark.e2e

_MIB = 2**20
_LOTS = 300 * _MIB


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class TestOutput:
    async def test_300_mb_are_bounded_and_said_so(self, stack: Stack, cortex: Command) -> None:
        script = (
            "echo the first line; "
            f"head -c {_LOTS} /dev/zero | tr '\\0' x | fold -w 1000; "
            "echo; echo the last line"
        )
        job = await stack.client.submit(shell(script))
        leases = stack.config.data_dir / "providers" / "local"
        biggest = 0

        async def ended() -> bool:
            nonlocal biggest
            biggest = max(biggest, folder_size(leases))
            return (await stack.client.job(job.id)).state.terminal

        await eventually(ended, within=90, what="the end of the job")
        now = await stack.client.job(job.id)
        assert now.state is JobState.COMPLETED, now
        assert biggest < 40 * _MIB
        # `logs.max_bytes`; what the provider itself dropped is not in the second figure.
        assert now.log_bytes <= 8 * _MIB
        assert now.log_dropped_bytes > 0
        lines = [line async for line in stack.client.logs(job.id)]
        assert lines[0].text == "the first line"
        assert lines[-1].text == "the last line"
        assert any(line.stream == "cortex" for line in lines), "no line says what is missing"
        shown = await cortex("job", job.id)
        assert "in the middle are not kept" in shown.out
        await check_books(stack, [job.id])


class TestProcesses:
    async def test_daemons_are_gone_at_the_end(self, stack: Stack) -> None:
        mark = f"m{uuid.uuid4().hex}"
        script = (
            f"setsid sh -c 'trap \"\" TERM HUP; sleep 1000; : {mark}' & "
            f"nohup sh -c 'sleep 1000; : {mark}' >/dev/null 2>&1 & "
            f"(setsid sh -c '(sleep 1000; : {mark}) & (sleep 1000; : {mark})' &) ; "
            "sleep 0.5; echo started; exit 9"
        )
        job = await stack.client.run(shell(script), timeout=patience(60))
        assert job.exit_code == 9
        assert not stack.processes(mark)
        assert not [p for p in psutil.process_iter(["environ"]) if _of(p, job.id)]
        await check_books(stack, [job.id])

    async def test_one_that_ignores_sigterm_is_cancelled(
        self, stack: Stack, cortex: Command
    ) -> None:
        mark = f"m{uuid.uuid4().hex}"
        job = await stack.client.submit(
            shell(f"trap '' TERM INT HUP; echo ready; while :; do sleep 1; done; : {mark}")
        )
        await started(stack, [job.id])
        done = await cortex("cancel", "--wait", job.id)
        assert done.out == f"{job.id}  cancelled\n"
        assert not stack.processes(mark)
        await check_books(stack, [job.id])

    async def test_one_that_forks_too_much_is_stopped(self, stack: Stack) -> None:
        mark = f"m{uuid.uuid4().hex}"
        script = f"for i in $(seq 300); do sh -c 'sleep 60; : {mark}' & done; wait"
        need = {"cpu": "10m", "memory": "1Gi", "pids": 40}
        job = await stack.client.run(shell(script, resources=need), timeout=patience(90))
        assert job.state is JobState.FAILED, job
        assert job.exit_code == 137
        assert "processes" in job.message
        assert not stack.processes(mark)
        await check_books(stack, [job.id])

    async def test_memory_hog_is_stopped(self, stack: Stack) -> None:
        job = await stack.client.run(
            shell("x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60"), timeout=60
        )
        assert job.state is JobState.FAILED, job
        assert job.exit_code != 0
        assert "memory" in job.message
        await check_books(stack, [job.id])


def _of(process: psutil.Process, job_id: str) -> bool:
    environment = process.info["environ"] or {}
    return str(environment.get("CORTEX_LEASE_KEY", "")).startswith(job_id)
