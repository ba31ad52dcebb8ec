"""Two source trees side by side: started by `bench/compare.sh`, which says what it is for.

The client is today's for both, so only requests that both take are made. The turns alternate:
whatever else the machine does meanwhile hits both alike.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from bench.api import SPEC, fill
from bench.wire import Sample, load

_ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 120.0
_SETTLE_SECONDS = 8.0
_WARM_SECONDS = 1.0
_REQUESTS: dict[str, tuple[str, str, bytes]] = {
    "list of 100": ("GET", "/api/v1/jobs?limit=100", b""),
    "get": ("GET", "/api/v1/jobs/job_" + "7".rjust(26, "0"), b""),
    "submit": ("POST", "/api/v1/jobs", json.dumps(SPEC).encode()),
}


@dataclass
class Stack:
    """A running stack and what was measured of it."""

    name: str
    port: int
    key: str
    database: str
    pids: dict[str, int]
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def rate(self, what: str) -> float:
        """Requests per second, median of the rounds."""
        return statistics.median(sample.rate for sample in self.samples[what])

    def p99(self, what: str) -> float:
        """Milliseconds, median of the rounds."""
        return statistics.median(sample.percentile(0.99) for sample in self.samples[what])


async def measure(arguments: argparse.Namespace) -> str:
    """Start both, measure in turns; returns the table."""
    trees = [
        (arguments.name, Path(arguments.tree), arguments.python),
        ("now", _ROOT, sys.executable),
    ]
    async with _stack(*trees[0]) as old, _stack(*trees[1]) as new:
        stacks = (old, new)
        await asyncio.sleep(_SETTLE_SECONDS)
        for stack in stacks:
            stack.memory = {part: _resident(stack.pids[part]) for part in ("api", "worker")}
        for stack in stacks:
            async with await psycopg.AsyncConnection.connect(stack.database) as connection:
                await fill(connection, arguments.jobs)
        for what, request in _REQUESTS.items():
            # Accepted jobs would run, and take the cores from the API that accepts the next ones.
            with _paused(stacks if what == "submit" else ()):
                for number in range(arguments.rounds + 1):
                    # The first round warms up; then who begins alternates.
                    for stack in stacks if number % 2 else stacks[::-1]:
                        seconds = arguments.seconds if number else _WARM_SECONDS
                        sample = await load(
                            stack.port,
                            stack.key,
                            clients=arguments.clients,
                            seconds=seconds,
                            request=request,
                        )
                        _require_success(stack, what, sample)
                        if number:
                            stack.samples.setdefault(what, []).append(sample)
        return _table(old, new, arguments)


@asynccontextmanager
async def _stack(name: str, tree: Path, python: str) -> AsyncIterator[Stack]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "CORTEX_PROVIDERS": json.dumps({"null": {"type": "null"}}),
    }
    process = await asyncio.create_subprocess_exec(
        python,
        "-P",
        str(Path(__file__).with_name("standalone.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        cwd=tree,
        start_new_session=True,  # Ctrl-C is for us: the end of its input stops the stack in order
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = await process.stdout.readline()
        if not line:
            raise SystemExit(f"the stack of {name} does not start; see above")
        yield Stack(name=name, **json.loads(line))
    finally:
        process.stdin.close()
        await process.wait()


@contextmanager
def _paused(stacks: tuple[Stack, ...]) -> Iterator[None]:
    workers = [psutil.Process(stack.pids["worker"]) for stack in stacks]
    try:
        for worker in workers:
            worker.suspend()
        yield
    finally:
        for worker in workers:
            worker.resume()


def _resident(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


def _require_success(stack: Stack, what: str, sample: Sample) -> None:
    failed = {status: count for status, count in sample.statuses.items() if status >= 400}
    if failed or not sample.latencies:
        raise SystemExit(f"{what} at {stack.name}: answers with errors {failed}")


def _table(old: Stack, new: Stack, arguments: argparse.Namespace) -> str:
    lines = [
        f"{arguments.jobs} jobs, {arguments.clients} clients, median of {arguments.rounds} rounds "
        f"of {arguments.seconds:g} s; API and worker idle, in MiB",
        f"   {'':<18} {old.name:>10} {new.name:>10} {'ratio':>7}   p99 in ms",
    ]
    for what in _REQUESTS:
        before, after = old.rate(what), new.rate(what)
        lines.append(
            f"   {what + ', 1/s':<18} {before:10.0f} {after:10.0f} {after / before:7.2f}   "
            f"{old.p99(what):.1f} -> {new.p99(what):.1f}"
        )
    sizes = [
        (f"memory of {part}", old.memory[part], new.memory[part]) for part in ("api", "worker")
    ]
    sizes.append(("both", sum(old.memory.values()), sum(new.memory.values())))
    for what, before, after in sizes:
        lines.append(f"   {what:<18} {before:10.0f} {after:10.0f} {after / before:7.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/compare.sh REV", description=__doc__)
    parser.add_argument("--name", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tree", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--python", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--jobs", type=int, default=10_000, help="in the table")
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    with asyncio.Runner() as runner:
        task = runner.get_loop().create_task(measure(arguments))
        runner.get_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            print(runner.get_loop().run_until_complete(task))
        except asyncio.CancelledError:
            sys.exit(143)


if __name__ == "__main__":
    main()
