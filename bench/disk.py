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
from cortex.schemas import JobView

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


async def measure(*, size: str, kind: str, seconds: float, after: float) -> tuple[str, bool]:
    """Run it.

    Args:
        size: Of the disk, as `mount -o size=` takes it.
        kind: `tmpfs` or `ext4`.
        seconds: How long the writer may take to its end.
        after: Seconds after its end at which everything has to be healthy.

    Returns:
        What was seen, as text; and whether everything was as it should be.
    """
    with small_disk(size, kind) as disk:
        config = StackConfig.free(disk / "data")
        try:
            await detach(config)
            config = StackConfig.load(config.data_dir)
            return await _run(config, disk, f"{size} of {kind}", seconds, after)
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


async def _run(
    config: StackConfig, disk: Path, what: str, seconds: float, after: float
) -> tuple[str, bool]:
    seen = Seen()
    async with AsyncCortex(config.api_url, config.api_key, retry=NO_RETRY) as client:
        before = shutil.disk_usage(disk)
        began = time.monotonic()
        writer = await client.submit(_job("writer", f"mkdir -p out; {_WRITER}"))
        others = [
            asyncio.create_task(_watch(client, disk, seen)),
            asyncio.create_task(_go_on_submitting(client, seen)),
        ]
        ended = await _end_of(client, writer.id, seconds)
        took = time.monotonic() - began
        await asyncio.sleep(after)
        for task in others:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        lines = [
            f"4. a job that writes until the disk is full, on {what} "
            f"({before.free >> 20} MiB free before it)",
            f"   the writer: {_told(ended)} after {took:.1f} s",
            *await _results(client, config, writer.id),
            f"   least free space seen: {seen.least_free / 2**20:.1f} MiB",
            f"   answers of the API: {_counted(seen.answers)}",
            f"   refused submissions: {_counted(seen.refused) or 'none'}",
        ]
        healthy, found = await _afterwards(client, config, disk, seen, after)
    well = healthy and ended is not None and ended.state == "failed" and not seen.refused
    well = well and set(seen.answers) == {"200"}
    return "\n".join([*lines, *found, f"   {'as it should be' if well else 'NOT WELL'}"]), well


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
        files = [f"{item.path} ({item.size} bytes)" for item in await client.outputs(job_id)]
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
