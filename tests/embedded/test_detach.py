"""The whole stack in the background, with the real API and worker."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import psutil
import pytest

from cortex.embedded import (
    StackConfig,
    StackError,
    StackInfo,
    detach,
    find_running,
    stack_status,
    stop_stack,
)
from tests.support import patience

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
async def stack(own_folder: Callable[[], Path]) -> AsyncIterator[StackInfo]:
    folder = own_folder() / "data"
    yield await detach(StackConfig.free(folder))
    await stop_stack(folder)


async def status_of(info: StackInfo, path: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=info.api_url, headers=headers) as client:
        return (await client.get(path)).status_code


def pids(info: StackInfo) -> dict[str, int | None]:
    return {p.name: p.pid for p in stack_status(info.data_dir).processes}


async def ready_again(info: StackInfo, name: str, pid: int | None) -> None:
    async with asyncio.timeout(patience(60)):
        while True:
            process = next(p for p in stack_status(info.data_dir).processes if p.name == name)
            if process.phase == "ready" and process.pid not in (None, pid):
                return
            await asyncio.sleep(0.1)


class TestDetach:
    async def test_it_runs_without_us_and_answers_with_its_key(self, stack: StackInfo) -> None:
        assert stack.ready
        assert psutil.Process(stack.pid).is_running()
        assert os.getsid(stack.pid) != os.getsid(0)
        assert await status_of(stack, "/health/ready") == 200
        assert await status_of(stack, "/api/v1/jobs", stack.api_key) == 200
        assert await status_of(stack, "/api/v1/jobs") == 401
        assert set(pids(stack)) == {"postgres", "temporal", "api", "worker"}

    async def test_a_second_one_finds_the_first(self, stack: StackInfo) -> None:
        again = await detach(StackConfig.load(stack.data_dir))
        assert again == stack

    @pytest.mark.faults
    @pytest.mark.parametrize("name", ["api", "worker"])
    async def test_killed_process_is_replaced(self, stack: StackInfo, name: str) -> None:
        pid = pids(stack)[name]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await ready_again(stack, name, pid)
        assert await status_of(stack, "/health/ready") == 200
        restarted = {p.name: p.restarts for p in stack_status(stack.data_dir).processes}
        assert restarted[name] >= 1


class TestFailure:
    async def test_the_reason_reaches_the_caller(self, data_dir: Path) -> None:
        config = StackConfig.free(data_dir)
        with (
            socket.create_server(("127.0.0.1", config.ports.postgres)),
            pytest.raises(StackError, match=r"Port \d+ \(postgres\) is taken by process"),
        ):
            await detach(config)
        assert find_running(data_dir) is None

    async def test_two_at_once_are_one_and_after_a_kill_it_starts_again(
        self, data_dir: Path, all_gone: Callable[[list[int]], bool]
    ) -> None:
        first, same = await asyncio.gather(
            detach(StackConfig.free(data_dir)), detach(StackConfig.free(data_dir))
        )
        assert first == same
        before = [pid for pid in pids(first).values() if pid]
        os.kill(first.pid, signal.SIGKILL)
        assert all_gone([first.pid])
        second = await detach(StackConfig.load(data_dir))
        assert second.pid != first.pid
        assert second.api_key == first.api_key
        assert await status_of(second, "/health/ready") == 200
        assert all_gone(before)
        assert await stop_stack(data_dir)
        assert find_running(data_dir) is None
