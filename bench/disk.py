"""A job that writes until the disk is full, on a stack whose data folder lies on a small disk."""

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cortex.client import AsyncCortex, ClientError
from cortex.client.retry import NO_RETRY
from cortex.domain.spec import JobSpec
from cortex.embedded import StackConfig, detach, stack_status, stop_stack
from cortex.schemas.jobs import JobView

_WRITER = "echo 42 > out/result.txt; cat /dev/zero > out/big; sleep 600"
_SMALL = "mkdir -p out; echo {n} > out/n.txt; sleep 1; cat out/n.txt"
_LOOK = 0.25


@dataclass
class Seen:
    """What was seen from outside while the disk filled up."""

    answers: Counter[str] = field(default_factory=Counter)
    least_free: int = 2**62
    accepted: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        size: Of the disk, as `mount -o size=` takes it.
        kind: `tmpfs` or `ext4`.
        writers: How many jobs write until the disk is full, at once.
        seconds: How long they may take to their end.
        after: Seconds after their end at which everything has to be healthy.
    """

    size: str
    kind: str
    writers: int = 1
    seconds: float = 120.0
    after: float = 60.0


async def measure(plan: Plan) -> tuple[str, bool]:
    """Run it; returns what was seen, as text, and whether everything was as it should be."""
    with small_disk(plan.size, plan.kind) as disk:
        config = StackConfig.free(disk / "data")
        try:
            await detach(config)
            return await _run(StackConfig.load(config.data_dir), disk, plan)
        finally:
            await stop_stack(config.data_dir)


@contextmanager
def small_disk(size: str, kind: str) -> Iterator[Path]:
    """A file system of its own, unmounted at the end; needs root."""
    with tempfile.TemporaryDirectory(prefix="ctx-disk-") as name:
        folder, image = Path(name, "disk"), Path(name, "image")
        Path(name).chmod(0o755)
        folder.mkdir(mode=0o755)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
        if kind == "ext4":
            subprocess.run(["truncate", "-s", size.upper(), str(image)], check=True)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
            words = ["mount", "-o", "loop", str(image), str(folder)]
        subprocess.run(words, check=True)
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def _run(config: StackConfig, disk: Path, plan: Plan) -> tuple[str, bool]:
    seen = Seen()
    async with AsyncCortex(config.api_url, config.api_key, retry=NO_RETRY) as client:
        free = shutil.disk_usage(disk).free >> 20
        began = time.monotonic()
        job = _job("writer", f"mkdir -p out; {_WRITER}")
        writers = [await client.submit(job) for _ in range(plan.writers)]
        others = [
            asyncio.create_task(_watch(client, disk, seen)),
            asyncio.create_task(_go_on_submitting(client, seen)),
        ]
        ended = [await _end_of(client, writer.id, plan.seconds) for writer in writers]
        took = time.monotonic() - began
        await asyncio.sleep(plan.after)
        for task in others:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        lines = [
            f"4. {plan.writers} writing until the disk is full, on {plan.size} of {plan.kind} "
            f"({free} MiB free before); over after {took:.1f} s"
        ]
        for writer, end in zip(writers, ended, strict=True):
            lines += [f"   a writer: {_told(end)}", *await _results(client, config, writer.id)]
        healthy, told = await _afterwards(client, config, disk, seen, plan.after)
    lines += [
        f"   least free space seen: {seen.least_free / 2**20:.1f} MiB",
        f"   answers of the API: {_counted(seen.answers)}",
        f"   refused submissions: {_counted(seen.refused) or 'none'}",
        *told,
    ]
    well = healthy and all(end is not None and end.state == "failed" for end in ended)
    well = well and not seen.refused and set(seen.answers) == {"200"}
    return "\n".join([*lines, f"   {'as it should be' if well else 'NOT WELL'}"]), well


def _job(name: str, script: str) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": name,
            "command": ["sh", "-c", script],
            "resources": {"cpu": "10m", "memory": "64Mi"},
            "duration": "15m",
            "outputs": ["out/"],
        }
    )


async def _end_of(client: AsyncCortex, job_id: str, seconds: float) -> JobView | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(ClientError):
            job = await client.job(job_id)
            if job.state.terminal:
                return job
        await asyncio.sleep(_LOOK)
    return None


async def _watch(client: AsyncCortex, disk: Path, seen: Seen) -> None:
    """What the API answers to somebody who looks, and how much space there is."""
    asked = 0.0
    while True:
        seen.least_free = min(seen.least_free, shutil.disk_usage(disk).free)
        if time.monotonic() - asked >= _LOOK:
            asked = time.monotonic()
            try:
                await client.jobs(limit=1)
                seen.answers["200"] += 1
            except ClientError as error:
                seen.answers[str(getattr(error, "status", "") or type(error).__name__)] += 1
        await asyncio.sleep(0.01)


async def _go_on_submitting(client: AsyncCortex, seen: Seen) -> None:
    for number in range(10**6):
        try:
            seen.accepted.append((await client.submit(_job("other", _SMALL.format(n=number)))).id)
        except ClientError as error:
            seen.refused[str(getattr(error, "code", "") or type(error).__name__)] += 1
        await asyncio.sleep(1)


async def _results(client: AsyncCortex, config: StackConfig, job_id: str) -> list[str]:
    try:
        files = [f"{output.path} ({output.size} bytes)" for output in await client.outputs(job_id)]
        ledger = [entry async for entry in client.iter_ledger(job_id)]
        job = await client.job(job_id)
    except ClientError as error:
        return [f"   nothing can be asked about it: {error}"]
    charges = sum(entry.kind == "charge" for entry in ledger)
    left = [str(p) for p in (config.data_dir / "providers" / "local").glob("job_*")]
    left = [path for path in left if job_id in path]
    said = [lease.message for lease in job.leases if lease.message]
    return [
        f"   its results: {', '.join(files) or 'none'}",
        *(f"   its lease says: {text}" for text in said),
        f"   its folders left: {len(left)}; leases released: "
        f"{sum(lease.released_at is not None for lease in job.leases)} of {len(job.leases)}; "
        f"charges: {charges}",
    ]


async def _afterwards(
    client: AsyncCortex, config: StackConfig, disk: Path, seen: Seen, after: float
) -> tuple[bool, list[str]]:
    ends: Counter[str] = Counter()
    for job_id in seen.accepted:
        job = await _end_of(client, job_id, 30)
        ends[_told(job)] += 1
    health: str = "away"
    try:
        health = (await client.health()).status
    except ClientError as error:
        health += f": {error}"
    status = stack_status(config.data_dir)
    restarts = {part.name: part.restarts for part in status.processes if part.restarts}
    free = shutil.disk_usage(disk).free >> 20
    lines = [
        f"   other jobs: {_counted(ends)}",
        f"   {after:.0f} s after its end: health {health}, restarts {restarts or 'none'}, "
        f"{free} MiB free",
    ]
    return health == "ok" and not restarts and set(ends) == {"completed"}, lines


def _told(job: JobView | None) -> str:
    if job is None:
        return "NOT ENDED"
    return f"{job.state.value}, {job.message}" if job.message else str(job.state.value)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} x {what}" for what, number in counts.items())
