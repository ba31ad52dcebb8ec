"""Where a worker spends its time while it runs jobs: samples of its Python code, by subject.

Only time on a processor counts, and only Python's: what the SDK's core does in threads of its own
is in the CPU times of the processes, which are printed first.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

import psutil

from bench.jobs import run_job
from bench.stage import Stage, open_stage

_RATE = 200
# The innermost of these folders in a stack says whose the sample is.
_SUBJECTS: Final = (
    ("pydantic/", "payloads and models (pydantic)"),
    ("temporalio/contrib/pydantic", "payloads and models (pydantic)"),
    ("temporalio/converter", "payloads and models (pydantic)"),
    ("google/protobuf", "payloads and models (protobuf)"),
    ("temporalio/api", "payloads and models (protobuf)"),
    ("temporalio/bridge", "SDK: bridge to its core"),
    ("temporalio/worker/workflow_sandbox", "SDK: workflow sandbox"),
    ("temporalio/worker/_workflow", "SDK: workflow worker"),
    ("temporalio/worker/_activity", "SDK: activity worker"),
    ("temporalio/", "SDK: the rest"),
    ("sqlalchemy/", "SQL: SQLAlchemy"),
    ("psycopg", "SQL: psycopg"),
    ("structlog/", "logging"),
    ("logging/", "logging"),
    ("opentelemetry/", "tracing"),
    ("workflows/", "Cortex: workflows"),
    ("activities/", "Cortex: activities"),
    ("cortex/db", "Cortex: statements and rows"),
    ("cortex/", "Cortex: the rest"),
    ("providers/", "Cortex: the provider"),
    ("bench/", "the benchmark itself"),
    ("asyncio/", "event loop"),
)

_OURS: Final = ("activities/", "cortex/", "providers/", "worker.py", "workflows/")


async def measure(*, jobs: int, in_flight: int) -> str:
    """CPU per job of each process, and the worker's Python time by subject, as a table.

    Raises:
        RuntimeError: py-spy is not installed.
    """
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if spy is None:
        raise RuntimeError("py-spy is not installed: pip install py-spy")
    async with open_stage({}) as stage, stage.worker():
        await _run(stage, 50, in_flight)
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder, "raw")
            sampling = await asyncio.create_subprocess_exec(
                *(spy, "record", "--pid", str(os.getpid()), "--rate", str(_RATE), "--gil"),
                *("--format", "raw", "--output", str(raw), "--duration", "3600"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            before, began, loop_before = _cpu(stage), time.monotonic(), time.thread_time()
            await _run(stage, jobs, in_flight)
            took, after = time.monotonic() - began, _cpu(stage)
            loop = (time.thread_time() - loop_before) / jobs * 1000
            sampling.send_signal(signal.SIGINT)
            await sampling.wait()
            stacks = (await asyncio.to_thread(raw.read_text)).splitlines()
    lines = [f"5. {jobs} jobs in {took:.1f} s ({jobs / took:.1f}/s), {in_flight} in flight"]
    for name, seconds in after.items():
        lines.append(
            f"   CPU of {name:<9} {(seconds - before[name]) / jobs * 1000:6.1f} ms per job"
        )
    subjects = _by_subject(stacks)
    lines.append(f"   of the worker's, the thread of its event loop: {loop:.1f} ms per job")
    lines.append(
        f"   samples of its Python: {subjects.total()}; beside the share, that of these ms"
    )
    lines += [
        f"   {count / subjects.total():6.1%} {count / subjects.total() * loop:5.1f}  {subject}"
        for subject, count in subjects.most_common()
    ]
    lines.append("   by function of Cortex, with what it calls outside of Cortex:")
    lines += [
        f"   {count / subjects.total():6.1%}  {name}"
        for name, count in _by_function(stacks).most_common(20)
    ]
    return "\n".join(lines)


async def _run(stage: Stage, count: int, in_flight: int) -> None:
    slots = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with slots:
            await run_job(stage)

    await asyncio.gather(*(one() for _ in range(count)))


def _cpu(stage: Stage) -> dict[str, float]:
    """Seconds on a processor so far, by process; the worker has the benchmark in it."""
    spent = {"worker": _spent(psutil.Process())}
    for name, pid in stage.pids.items():
        process = psutil.Process(pid)
        # Of PostgreSQL the sessions count, which stay as long as the pool keeps them.
        spent[name] = sum(_spent(each) for each in (process, *process.children(recursive=True)))
    return spent


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _by_subject(stacks: list[str]) -> Counter[str]:
    """Samples by the innermost frame that belongs to a subject. A line: frames, then a number."""
    samples: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        samples[_subject(frames.split(";"))] += int(count)
    return samples


def _by_function(stacks: list[str]) -> Counter[str]:
    """Samples by the innermost function of Cortex, with all that it calls."""
    samples: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        for frame in reversed(frames.split(";")):
            name, _, place = frame.partition(" (")
            if place.startswith(_OURS):
                samples[f"{name} ({place.partition(':')[0]})"] += int(count)
                break
    return samples


def _subject(frames: list[str]) -> str:
    for frame in reversed(frames):
        for folder, subject in _SUBJECTS:
            if folder in frame:
                return subject
    return "other"
