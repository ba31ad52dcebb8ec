"""Shortly before a job's deadline: more time if the job asks for it by itself, else a warning."""

from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.contracts import WarnInput, WarnResult
from cortex.db.engine import Database, Transaction
from cortex.domain.errors import Conflict, InvalidRequest, OverBudget
from cortex.domain.events import EventType
from cortex.domain.jobs import Job
from cortex.domain.states import CANCELLABLE_JOB_STATES, LeaseState
from cortex.domain.units import format_duration
from cortex.services.jobs.extend import LengthLimits, extend_job
from cortex.settings import Settings


class DeadlineActivities:
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    @activity.defn
    async def warn(self, warning: WarnInput) -> WarnResult:
        """Extend the job or tell that it ends soon: once for each deadline.

        A try that follows another finds the deadline moved, or the warning written.
        """
        why_not = ""
        try:
            extended = await self._extend(warning)
            if extended is not None:
                return WarnResult(deadline_at=extended.deadline_at)
        except (Conflict, InvalidRequest, OverBudget) as refusal:
            # Its transaction is undone: what was refused has left nothing behind.
            why_not = refusal.detail
        async with self._database.transaction() as tx:
            await tx.jobs.lock(warning.job_id)
            job = await tx.jobs.get(warning.job_id)
            if await _concerns(tx, job, warning) and job.warned_at is None:
                now = datetime.now(UTC)
                await tx.jobs.set_warned(job.id, now)
                data = _warning(job, warning.deadline_at - now, why_not)
                await tx.events.add(EventType.JOB_DEADLINE_NEAR, job.id, job_id=job.id, data=data)
        return WarnResult(deadline_at=job.deadline_at)

    async def _extend(self, warning: WarnInput) -> Job | None:
        """The job with more time, if it asks for that by itself; None if it is to be warned of."""
        async with self._database.transaction() as tx:
            await tx.jobs.lock(warning.job_id)
            job = await tx.jobs.get(warning.job_id)
            auto = job.spec.auto_extend
            if auto is None or job.warned_at is not None or not await _concerns(tx, job, warning):
                return None
            by = auto.step(job.spec.duration + job.extension)
            if not by:
                raise InvalidRequest(f"`auto_extend.up_to` is {format_duration(auto.up_to)}")
            limits = LengthLimits.of(self._settings.jobs.max_duration, await tx.providers.all())
            return await extend_job(tx, job.id, by, limits, auto=True)


async def _concerns(tx: Transaction, job: Job, warning: WarnInput) -> bool:
    """Whether the job still runs towards this very deadline."""
    if job.state not in CANCELLABLE_JOB_STATES or job.deadline_at != warning.deadline_at:
        return False
    return (await tx.leases.get(warning.lease_key)).state == LeaseState.ACTIVE


def _warning(job: Job, left: timedelta, why_not: str) -> dict[str, object]:
    whole = timedelta(seconds=max(0, round(left.total_seconds())))
    then = f"`cortex extend {job.id} 30m` gives it more time"
    return {
        "deadline_at": job.deadline_at.isoformat() if job.deadline_at else None,
        "left": format_duration(whole),
        "message": f"the job is ended in {format_duration(whole)}, whether it is done or not",
        "next": f"it is not extended: {why_not}" if why_not else then,
        "not_extended": why_not,
    }
