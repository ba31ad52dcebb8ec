"""The steps of a job as calls of activities: on which queue, with which patience and retries."""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from activities.contracts import (
        AcquireResult,
        CheckResult,
        CommitResult,
        FinishInput,
        LeaseInput,
        PlaceInput,
        PlaceResult,
        SettleInput,
        SettleResult,
        WarnInput,
        WarnResult,
    )
    from activities.jobs.deadlines import DeadlineActivities
    from activities.jobs.leasing import COMMIT_TIMEOUT, LeaseActivities
    from activities.jobs.placement import PlacementActivities
    from activities.jobs.settlement import SettlementActivities
    from cortex.domain.jobs import Outcome
    from cortex.temporal import contracts
    from cortex.temporal.contracts import JobInput

_AT_ONCE = timedelta(seconds=2)
_CHECK = timedelta(minutes=5)
_PREPARE = timedelta(hours=1)
# A network that hangs for so long is passed over; an outage of the database is waited out.
_ONE_DAY = timedelta(days=1)
QUICK = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))
_RELENTLESS = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)
)


def place_at_once(placing: PlaceInput) -> ActivityHandle[PlaceResult]:
    """Offers mostly come at once: then a local activity spares the server a round trip."""
    return workflow.start_local_activity_method(
        PlacementActivities.place,
        placing,
        start_to_close_timeout=_AT_ONCE,
        retry_policy=RetryPolicy(maximum_attempts=1),
        summary="collect offers",
    )


def place(job: JobInput, placing: PlaceInput) -> ActivityHandle[PlaceResult]:
    return workflow.start_activity_method(
        PlacementActivities.place,
        placing,
        start_to_close_timeout=timedelta(minutes=1),
        heartbeat_timeout=job.heartbeat_timeout,
        retry_policy=QUICK,
        summary="collect offers",
    )


def acquire(job: JobInput, placement: PlaceResult) -> ActivityHandle[AcquireResult]:
    """`prepare` and `commit` in one; it hears of a cancellation until it commits."""
    return workflow.start_activity_method(
        LeaseActivities.acquire,
        _lease(job, placement),
        task_queue=_queue(placement),
        start_to_close_timeout=_PREPARE + COMMIT_TIMEOUT,
        schedule_to_close_timeout=_ONE_DAY,
        heartbeat_timeout=job.heartbeat_timeout,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        retry_policy=QUICK,
        summary=f"reserve and start at {placement.provider_id}",
    )


def prepare(job: JobInput, placement: PlaceResult) -> ActivityHandle[None]:
    """May take long (pulling an image), so it hears of a cancellation."""
    return workflow.start_activity_method(
        LeaseActivities.prepare,
        _lease(job, placement),
        task_queue=_queue(placement),
        start_to_close_timeout=_PREPARE,
        schedule_to_close_timeout=_ONE_DAY,
        heartbeat_timeout=job.heartbeat_timeout,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        retry_policy=QUICK,
        summary=f"reserve at {placement.provider_id}",
    )


def commit(job: JobInput, placement: PlaceResult) -> ActivityHandle[CommitResult]:
    return workflow.start_activity_method(
        LeaseActivities.commit,
        _lease(job, placement),
        task_queue=_queue(placement),
        start_to_close_timeout=COMMIT_TIMEOUT,
        schedule_to_close_timeout=_ONE_DAY,
        heartbeat_timeout=job.heartbeat_timeout,
        retry_policy=QUICK,
        summary=f"start at {placement.provider_id}",
    )


def check(job: JobInput, placement: PlaceResult) -> ActivityHandle[CheckResult]:
    return workflow.start_activity_method(
        LeaseActivities.check,
        _lease(job, placement),
        task_queue=_queue(placement),
        start_to_close_timeout=timedelta(minutes=2),
        schedule_to_close_timeout=_CHECK,
        heartbeat_timeout=job.heartbeat_timeout,
        retry_policy=QUICK,
        summary="safety check",
    )


def warn(job: JobInput, placement: PlaceResult, deadline: datetime) -> ActivityHandle[WarnResult]:
    """Given up at the deadline, which waits for nothing."""
    return workflow.start_activity_method(
        DeadlineActivities.warn,
        WarnInput(job_id=job.job_id, lease_key=placement.lease_key or "", deadline_at=deadline),
        start_to_close_timeout=timedelta(minutes=1),
        heartbeat_timeout=job.heartbeat_timeout,
        schedule_to_close_timeout=deadline - workflow.now(),
        retry_policy=QUICK,
        summary="the deadline is near",
    )


def settle(
    job: JobInput, placement: PlaceResult, closing: SettleInput
) -> ActivityHandle[SettleResult | None]:
    """Tried without end: a lease may cost money until this is done."""
    return workflow.start_activity_method(
        SettlementActivities.settle,
        closing,
        task_queue=_queue(placement),
        start_to_close_timeout=timedelta(hours=2),
        heartbeat_timeout=job.heartbeat_timeout,
        retry_policy=_RELENTLESS,
        summary=f"release and book at {placement.provider_id}",
    )


def finish(job: JobInput, outcome: Outcome) -> ActivityHandle[None]:
    return workflow.start_activity_method(
        PlacementActivities.finish,
        FinishInput(job_id=job.job_id, outcome=outcome),
        start_to_close_timeout=timedelta(minutes=1),
        heartbeat_timeout=job.heartbeat_timeout,
        retry_policy=QUICK,
        summary="close the job",
    )


def _lease(job: JobInput, placement: PlaceResult) -> LeaseInput:
    return LeaseInput(
        job_id=job.job_id,
        lease_key=placement.lease_key or "",
        provider_id=placement.provider_id or "",
    )


def _queue(placement: PlaceResult) -> str:
    return contracts.provider_queue(placement.provider_id or "")
