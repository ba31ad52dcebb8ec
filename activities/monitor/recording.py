"""Writes down, once, what a network said about a lease: row, job state, event."""

from datetime import UTC, datetime

from activities.events import state_event
from activities.monitor.frames import record_frames
from cortex.db.engine import Transaction
from cortex.db.jobs.leases import MAX_MESSAGE
from cortex.domain.events import EventType, NewEvent
from cortex.domain.leases import Lease, LeaseSnapshot
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.temporal.contracts import LeaseChange


async def record(
    tx: Transaction,
    lease: Lease,
    snapshot: LeaseSnapshot,
) -> Lease:
    """Bring the lease row in line with a snapshot; returns the lease as it is then.

    The caller holds the job's lock. A snapshot of a lease that is being released, or that tells
    nothing new, changes nothing.
    """
    if lease.state != LeaseState.ACTIVE:
        return lease
    if snapshot.frames:
        await record_frames(tx, lease, snapshot.frames)
    if snapshot.state == lease.run_state:
        await _details(tx, lease, snapshot)
        return lease
    if snapshot.image:
        snapshot = await _named(tx, lease, snapshot)
    events: list[NewEvent] = []
    running = snapshot.started_at is not None or snapshot.state == RunState.RUNNING
    if running and lease.run_state in (None, RunState.STARTING):
        events += await _running(tx, lease, snapshot)
    recorded = await tx.leases.record_run(lease, snapshot)
    await tx.events.add_many([*events, run_event(lease, snapshot)])
    return recorded or lease


async def _named(tx: Transaction, lease: Lease, snapshot: LeaseSnapshot) -> LeaseSnapshot:
    """Name the image that could not be pulled, where the network has not."""
    image = (await tx.jobs.get(lease.job_id)).spec.image
    if image is None or image in snapshot.message:
        return snapshot
    message = f"image `{image}` cannot be pulled: {snapshot.message}"
    return snapshot.model_copy(update={"message": message})


def run_event(lease: Lease, snapshot: LeaseSnapshot) -> NewEvent:
    """The event of a lease's new run state."""
    data = {
        "run_state": snapshot.state.value,
        "exit_code": snapshot.exit_code,
        "message": snapshot.message[:MAX_MESSAGE],
        "provider": lease.provider_id,
    }
    return NewEvent.of_lease(EventType.LEASE_RUN_CHANGED, lease, data)


def change_of(lease: Lease) -> LeaseChange | None:
    """The message about a recorded lease, once there is something to tell."""
    if lease.run_state is None:
        return None
    return LeaseChange(
        key=lease.key,
        version=lease.version,
        state=lease.run_state,
        exit_code=lease.exit_code,
        message=lease.message,
        image=lease.image,
    )


async def _running(tx: Transaction, lease: Lease, snapshot: LeaseSnapshot) -> list[NewEvent]:
    moved = await tx.jobs.begin_running(
        lease.job_id,
        message=f"running on `{lease.provider_id}`",
        started_at=snapshot.started_at or datetime.now(UTC),
    )
    if moved is None:  # it is being cancelled
        return []
    return [state_event(lease.job_id, JobState.RUNNING, provider=lease.provider_id)]


async def _details(tx: Transaction, lease: Lease, snapshot: LeaseSnapshot) -> None:
    message = snapshot.message[:MAX_MESSAGE]
    if snapshot.state == RunState.STARTING and message and message != lease.message:
        # What a job waits for before it runs, such as an image that cannot be pulled there.
        await tx.jobs.set_message(lease.job_id, message)
        told = {"message": message, "provider": lease.provider_id}
        await tx.events.add_many([NewEvent.of_job(EventType.JOB_PROGRESS, lease.job_id, told)])
    if snapshot.endpoints != lease.endpoints or message != lease.message:
        await tx.leases.set_details(lease.key, endpoints=snapshot.endpoints, message=message)
    if snapshot.progress is not None and not snapshot.frames:
        await tx.jobs.set_progress(lease.job_id, snapshot.progress)
