"""Which jobs and groups do not get on: pure rules over what the database knows of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.leases import SettleStep
from cortex.domain.quantities import Duration
from cortex.domain.states import JobState, LeaseState
from cortex.domain.units import format_duration

May = Literal["retry", "force_release", "settle", "cancel"]
"""What one may do about it: `cancel`, or a decision by hand."""

_ENDING: Final = (JobState.CANCELLING, JobState.SETTLING)
_BY_HAND: Final[tuple[May, ...]] = ("retry", "force_release", "settle")
_MOVING: Final = {
    LeaseState.INTENDED: "reserve at `{provider}`",
    LeaseState.RESERVED: "start at `{provider}`",
    LeaseState.RELEASING: "release the lease at `{provider}`",
}


class StuckRules(BaseModel):
    """How long a job may stay where it is before it counts as stuck."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    starting: Duration = Field(
        default=timedelta(minutes=2), description="Accepted, and its workflow not started."
    )
    placing: Duration = Field(
        default=timedelta(minutes=5),
        description="Looking for an offer, beyond the job's own `placement.timeout`.",
    )
    deploying: Duration = Field(
        default=timedelta(minutes=30), description="Reserving and starting at a network."
    )
    running: Duration = Field(
        default=timedelta(minutes=5), description="Running on, beyond its deadline."
    )
    cancelling: Duration = Field(
        default=timedelta(minutes=5), description="Cancelled, and its lease not released."
    )
    settling: Duration = Field(
        default=timedelta(minutes=5), description="Releasing its lease and booking its charge."
    )
    unknown: Duration = Field(
        default=timedelta(minutes=30), description="Its network cannot say how it is."
    )
    preparing: Duration = Field(
        default=timedelta(minutes=2), description="A gang undecided, beyond its own deadline."
    )


@dataclass(frozen=True)
class JobFacts:
    """A job that has not ended, with its newest lease and what Temporal must still be told."""

    id: str
    name: str
    owner: str
    project: str
    state: JobState
    entered_at: datetime
    message: str
    placement_timeout: timedelta
    deadline_at: datetime | None = None
    group_id: str | None = None
    provider_id: str | None = None
    lease_key: str | None = None
    lease_state: LeaseState | None = None
    unknown_since: datetime | None = None
    unknown_reason: str = ""
    settle_steps: tuple[SettleStep, ...] = ()
    commands: int = 0
    command_error: str = ""


@dataclass(frozen=True)
class Stuck:
    """Something that does not get on.

    Attributes:
        since: From when the limit is counted.
        step: What it is at, in words.
        error: What was heard last about it.
    """

    id: str
    name: str
    owner: str
    project: str
    state: str
    since: datetime
    limit: timedelta
    step: str
    error: str
    may: tuple[May, ...]
    group_id: str | None = None
    provider_id: str | None = None
    lease_key: str | None = None
    lease_state: LeaseState | None = None

    def told(self) -> str:
        """One sentence about it."""
        return f"it is `{self.state}` for more than {format_duration(self.limit)}: {self.step}"


def stuck(job: JobFacts, limits: StuckRules, now: datetime) -> Stuck | None:
    """Whether a job is stuck, and in what."""
    since, limit, step, error, may = _place(job, limits)
    if now - since <= limit:
        return None
    return Stuck(
        id=job.id,
        name=job.name,
        owner=job.owner,
        project=job.project,
        state=job.state.value,
        since=since,
        limit=limit,
        step=step,
        error=error,
        may=may,
        group_id=job.group_id,
        provider_id=job.provider_id if job.lease_key else None,
        lease_key=job.lease_key,
        lease_state=job.lease_state,
    )


_Place = tuple[datetime, timedelta, str, str, tuple[May, ...]]


def _place(job: JobFacts, limits: StuckRules) -> _Place:
    entered, said = job.entered_at, job.message
    if job.state is JobState.PENDING:
        step = "start its workflow"
        return entered, limits.starting, step, job.command_error or said, ("retry", "cancel")
    if job.state is JobState.PLACING:
        limit = job.placement_timeout + limits.placing
        return entered, limit, "find an offer", said, ("retry", "cancel")
    if job.state is JobState.DEPLOYING:
        return entered, limits.deploying, _moving(job), said, ("retry", "cancel")
    if job.state in _ENDING:
        return _ending(job, limits)
    return _running(job, limits)


def _ending(job: JobFacts, limits: StuckRules) -> _Place:
    cancelling = job.state is JobState.CANCELLING
    limit = limits.cancelling if cancelling else limits.settling
    failed = [attempted for attempted in job.settle_steps if attempted.error]
    error = failed[-1].error if failed else job.command_error or job.message
    if job.lease_key is None:
        return job.entered_at, limit, "end the job", error, ("retry",)
    may: tuple[May, ...] = _BY_HAND if job.lease_state is LeaseState.RELEASING else ("retry",)
    step = _moving(job)
    if failed:
        step += f" ({failed[-1].step}, try {failed[-1].tries})"
    return job.entered_at, limit, step, error, may


def _running(job: JobFacts, limits: StuckRules) -> _Place:
    late = job.deadline_at
    if late is not None and (job.unknown_since is None or late < job.unknown_since):
        step = "stop it: its deadline has passed"
        return late, limits.running, step, job.message, ("retry", "cancel")
    if job.unknown_since is not None:
        step = f"see how it is at `{job.provider_id}`"
        return job.unknown_since, limits.unknown, step, job.unknown_reason, ("cancel",)
    return job.entered_at, timedelta.max, "", "", ()


def _moving(job: JobFacts) -> str:
    words = _MOVING.get(job.lease_state, "end the lease at `{provider}`") if job.lease_state else ""
    return words.format(provider=job.provider_id) or "go on"


def stuck_gang(
    group_id: str,
    *,
    name: str,
    owner: str,
    project: str,
    state: str,
    gang: int,
    deadline_at: datetime,
    limit: timedelta,
    now: datetime,
) -> Stuck | None:
    """Whether a gang that was to be decided by now is not."""
    if now - deadline_at <= limit:
        return None
    return Stuck(
        id=group_id,
        name=name,
        owner=owner,
        project=project,
        state=state,
        since=deadline_at,
        limit=limit,
        step=f"decide whether gang {gang} is committed",
        error="",
        may=("cancel",),
        group_id=group_id,
    )
