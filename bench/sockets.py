"""What idle WebSockets and slow requests cost the API: memory, CPU, and what others wait for it."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from bench.api import SPEC, open_stack
from bench.wire import Sample, Wire
from cortex.embedded import StackConfig, stack_status

_PROCESSES = 4
_EVENTS = 5
_PATIENCE = 120.0
_PART = {"heads": "head", "bodies": "body"}


@dataclass
class Clients:
    """One process with many clients."""

    process: asyncio.subprocess.Process

    async def told(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            line: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return line

    def order(self) -> None:
        """Go on to the next step."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")


async def measure(*, sockets: int, slow: int, seconds: float) -> str:
    """Idle WebSockets, then requests that come a byte at a time, as a table."""
    # One user has all of them, and the server is told to have room for them.
    room = {
        "CORTEX_API__MAX_SOCKETS": str(sockets),
        "CORTEX_API__MAX_CONNECTIONS": str(sockets + slow + 1000),
        "CORTEX_API__MAX_STREAMS_PER_USER": "0",
    }
    os.environ.update(room)
    async with open_stack() as config:
        api = _api(config)
        lines = await _idle(config, api, sockets, seconds)
        for kind in ("heads", "bodies"):
            lines += await _slow(config, api, kind, slow, seconds)
    return "\n".join(lines)


async def _idle(
    config: StackConfig, api: psutil.Process, sockets: int, seconds: float
) -> list[str]:
    alone = await _latencies(config, seconds / 3)
    before, files = api.memory_info().rss, api.num_fds()
    async with _clients("idle", config, sockets) as clients:
        opened = [await each.told() for each in clients]
        held = sum(each["opened"] for each in opened)
        took = max(each["seconds"] for each in opened)
        await asyncio.sleep(1)
        memory = api.memory_info().rss - before
        busy = sum(api.cpu_times()[:2])
        among = await _latencies(config, seconds)
        busy = sum(api.cpu_times()[:2]) - busy
        reached = [await _reach(config, clients) for _ in range(_EVENTS)]
        for each in clients:
            each.order()
        ends = [await each.told() for each in clients]
        began = time.monotonic()
        async with asyncio.timeout(_PATIENCE):
            while api.num_fds() > files + 20:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        closed = time.monotonic() - began
    ended = sum((Counter(each["ended"]) for each in ends), Counter())
    share = busy / among.seconds * 100
    return [
        f"6. {held} idle WebSockets, each with a subscription ({sockets} wanted, {took:.1f} s)",
        f"   memory per socket {memory / max(1, held) / 1024:.1f} KiB, in all {memory / 2**20:.0f} "
        f"MiB; after closing {(api.memory_info().rss - before) / 2**20:.0f} MiB more than before",
        f"   CPU of the API meanwhile {share:.1f} % of a core, {share / max(1, held) * 1e4:.1f} us "
        f"a second for each; that includes the probe",
        alone.row("health, none open"),
        among.row("health, all open"),
        "   one event reaches all: "
        + ", ".join(f"{last * 1000:.0f} ms (first {first * 1000:.0f})" for first, last in reached),
        f"   gone {closed:.2f} s after the clients closed; ended before: {dict(ended)}",
    ]


async def _reach(config: StackConfig, clients: list[Clients]) -> tuple[float, float]:
    """Seconds from the submission of a job until the first and the last client know of it."""
    wire = Wire(config.ports.api, config.api_key)
    began = time.monotonic()
    status, _ = await wire.call("POST", "/api/v1/jobs", json.dumps(SPEC).encode())
    assert status == 202
    told = [await each.told() for each in clients]
    wire.close()
    return min(one["first"] for one in told) - began, max(one["last"] for one in told) - began


async def _slow(
    config: StackConfig, api: psutil.Process, kind: str, count: int, seconds: float
) -> list[str]:
    before = api.memory_info().rss
    async with _clients(kind, config, count) as clients:
        for each in clients:
            await each.told()
        await asyncio.sleep(3)
        busy = sum(api.cpu_times()[:2])
        sample = await _latencies(config, seconds, keep=False)
        busy = sum(api.cpu_times()[:2]) - busy
        memory, files = api.memory_info().rss - before, api.num_fds()
        for each in clients:
            each.order()
        ends = [await each.told() for each in clients]
    ended = sum((Counter(each["ended"]) for each in ends), Counter())
    return [
        f"7. {count} clients that send the {_PART[kind]} of a request a byte a second, for "
        f"{seconds:.0f} s",
        f"   memory {memory / 2**20:.0f} MiB, open files {files}, CPU of the API "
        f"{busy / sample.seconds * 100:.0f} % of a core",
        sample.row("a list, new connections"),
        f"   what they were told: {dict(ended)}",
    ]


async def _latencies(config: StackConfig, seconds: float, *, keep: bool = True) -> Sample:
    """Of the health probe over one connection; without `keep`: of a list, each over a new one."""
    sample = Sample()
    path = "/health/live" if keep else "/api/v1/jobs?limit=10"
    wire = Wire(config.ports.api, config.api_key)
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        if not keep:
            wire = Wire(config.ports.api, config.api_key)
        before = time.monotonic()
        try:
            async with asyncio.timeout(10):
                status, _ = await wire.call("GET", path)
        except (OSError, TimeoutError, EOFError):
            status = 599
        sample.latencies.append(time.monotonic() - before)
        sample.statuses[status] = sample.statuses.get(status, 0) + 1
        if not keep:
            wire.close()
        await asyncio.sleep(0.05)
    wire.close()
    sample.seconds = time.monotonic() - started
    return sample


@asynccontextmanager
async def _clients(kind: str, config: StackConfig, count: int) -> AsyncIterator[list[Clients]]:
    """Processes with so many clients together, each from an address of its own."""
    started: list[Clients] = []
    try:
        for number in range(_PROCESSES):
            share = count // _PROCESSES + (number < count % _PROCESSES)
            where = (
                kind,
                str(config.ports.api),
                config.api_key,
                str(share),
                f"127.0.0.{number + 2}",
            )
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.socket_clients", *where),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            started.append(Clients(process))
        yield started
    finally:
        for each in started:
            if each.process.returncode is None:
                each.process.kill()
            await each.process.wait()


def _api(config: StackConfig) -> psutil.Process:
    pids = {part.name: part.pid for part in stack_status(config.data_dir).processes}
    return psutil.Process(pids["api"])
