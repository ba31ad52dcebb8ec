"""Writes down, once, what a network said about the frames of a render job."""

from collections.abc import Sequence
from decimal import Decimal

from cortex.db.engine import Database, Transaction
from cortex.domain.events import EventType
from cortex.domain.leases import Lease, LeaseRef
from cortex.domain.rendering.frames import FrameState, FrameStatus, format_frames
from providers.registry import AnyProvider

_EVENT_FRAMES = 200


async def record_frames(tx: Transaction, lease: Lease, frames: Sequence[FrameStatus]) -> None:
    """Rows, progress, and one event for all frames that ended since the last time.

    The caller holds the job's lock.
    """
    changed = await tx.frames.record(lease.job_id, lease.key, frames)
    ended = [frame for frame in changed if frame.state.final]
    if not ended:
        return
    job = await tx.jobs.get(lease.job_id)
    total = len(job.spec.render.numbers()) if job.spec.render else 0
    counts = await tx.frames.counts(lease.job_id)
    done, failed = counts.get(FrameState.DONE, 0), counts.get(FrameState.FAILED, 0)
    progress = (Decimal(done) / total).quantize(Decimal("0.00001")) if total else Decimal(0)
    await tx.jobs.set_progress(lease.job_id, min(progress, Decimal(1)))
    data = {
        "done": done,
        "failed": failed,
        "total": total,
        "progress": str(progress),
        "message": _sentence(ended, done, total),
        "frames": [_fact(frame) for frame in ended[:_EVENT_FRAMES]],
        "more": max(0, len(ended) - _EVENT_FRAMES),
        "provider": lease.provider_id,
    }
    await tx.events.add(EventType.JOB_FRAMES, lease.job_id, job_id=lease.job_id, data=data)


async def last_frames(
    database: Database, provider: AnyProvider, lease: Lease, ref: LeaseRef
) -> None:
    """The last word about the frames of a lease that is over; the monitor may not have heard it."""
    snapshot = await provider.status(ref)
    if snapshot.frames:
        async with database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            if (await tx.leases.get(lease.key)).settling:
                await record_frames(tx, lease, snapshot.frames)


async def settle_frames(database: Database, lease: Lease) -> None:
    """After its files are collected: a frame whose file is not here is not done."""
    async with database.transaction() as tx:
        await tx.jobs.lock(lease.job_id)
        if (await tx.leases.get(lease.key)).settling:
            await tx.frames.settle(lease.job_id, lease.key)


def _sentence(ended: Sequence[FrameStatus], done: int, total: int) -> str:
    parts: list[str] = []
    for state, verb in ((FrameState.DONE, "done"), (FrameState.FAILED, "failed")):
        numbers = [frame.frame for frame in ended if frame.state is state]
        if numbers:
            parts.append(
                f"{'frame' if len(numbers) == 1 else 'frames'} {format_frames(numbers)} {verb}"
            )
    return f"{', '.join(parts)}; {done} of {total}"


def _fact(frame: FrameStatus) -> dict[str, object]:
    return frame.model_dump(mode="json", exclude={"finished_at"}, exclude_none=True)
