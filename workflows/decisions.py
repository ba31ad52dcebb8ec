"""What the end of a lease means for its job: pure rules, so that they can be read and tested."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from cortex.domain.jobs import Outcome, Reason
from cortex.domain.states import JobState, RunState
from cortex.domain.units import format_duration
from cortex.temporal.contracts import JobInput, LeaseChange

Failure = Literal["", "lost", "refused"]
Cause = Literal["lost", "failed", "refused"]

_FIRST_WAIT = timedelta(seconds=2)
_LONGEST_WAIT = timedelta(minutes=10)
_WANTED = (Reason.CANCELLED, Reason.GROUP_ABORTED, Reason.DEPENDENCY_FAILED)


class End(StrEnum):
    """Why a lease is over."""

    EXITED = "exited"
    LOST = "lost"
    DEADLINE = "deadline"
    STOPPED = "stopped"
    REFUSED = "refused"
    """The network would not or could not: nothing has run."""
    BROKEN = "broken"
    """An error that no other provider would mend."""


@dataclass(frozen=True)
class LeaseEnd:
    end: End
    reason: Reason
    message: str = ""
    exit_code: int | None = None
    ruled_out: bool = False
    """This provider will never run the job: it is not asked again."""
    one_offer: bool = False
    """Another offer of the same provider may do."""
    last: bool = False
    """No other offer is taken, whatever the spec allows: the group was to run whole."""

    @classmethod
    def of_change(cls, change: LeaseChange, provider_id: str = "") -> "LeaseEnd":
        if change.state == RunState.LOST:
            who = f"`{provider_id}`" if provider_id else "the provider"
            if change.image:
                return cls._of_pull(change, who)
            message = ": ".join(filter(None, (f"{who} lost the lease", change.message)))
            return cls(End.LOST, Reason.LEASE_LOST, message)
        return cls(End.EXITED, Reason.EXITED, change.message, change.exit_code)

    @classmethod
    def _of_pull(cls, change: LeaseChange, who: str) -> "LeaseEnd":
        """Its image could not be pulled: this provider is not to try it a second time."""
        message = f"{who}: {change.message or 'the image cannot be pulled'}"
        if change.image == "missing":
            return cls(End.BROKEN, Reason.IMAGE_UNAVAILABLE, message)
        return cls(End.LOST, Reason.IMAGE_UNAVAILABLE, message, ruled_out=True)

    @property
    def failure(self) -> Failure:
        """What the network is to be blamed for. Not what this job alone meets there."""
        if self.end is End.LOST:
            return "lost"
        return "refused" if self.end is End.REFUSED and not self.ruled_out else ""


@dataclass(frozen=True)
class Retry:
    """Place the job again, after `wait`; `message` tells the user why, `next` what comes now."""

    message: str
    next: str
    wait: timedelta
    exclude: bool
    cause: Cause
    ruled_out: bool = False
    one_offer: bool = False
    image: bool = False
    """The image could not be pulled: if it stays so, that is why the job failed."""


@dataclass
class Tally:
    """How often a job was started anew so far."""

    failures: int = 0
    losses: int = 0


def decide(end: LeaseEnd, job: JobInput, tally: Tally) -> Outcome | Retry:
    """The job's outcome, or another try. Counts the try in `tally`."""
    if end.end is End.EXITED:
        return _after_exit(end, job, tally)
    if end.end is End.LOST:
        return _after_loss(end, job, tally) if not end.ruled_out else _after_pull(end, job)
    if end.end is End.REFUSED and job.failover and not end.last:
        then = "Cortex takes the next offer"
        if end.ruled_out:
            then = f"Cortex does not ask it again for this job and {then.removeprefix('Cortex ')}"
        return Retry(
            end.message,
            then,
            timedelta(0),
            exclude=True,
            cause="refused",
            ruled_out=end.ruled_out,
            one_offer=end.one_offer,
            image=end.reason is Reason.IMAGE_UNAVAILABLE,
        )
    state = stopped_state(end.reason) if end.end is End.STOPPED else JobState.FAILED
    message = end.message
    if end.last:
        message += "; its group takes all or none (`commit_failure` is `compensate`)"
    elif end.end is End.REFUSED:
        message += "; the job takes no other offer (`placement.failover` is off)"
    return Outcome(state=state, reason=end.reason, message=message)


def stopped_state(cause: Reason) -> JobState:
    """How a job that was stopped ends: what its user or its group wanted is no failure of it."""
    return JobState.CANCELLED if cause in _WANTED else JobState.FAILED


def _after_exit(end: LeaseEnd, job: JobInput, tally: Tally) -> Outcome | Retry:
    if end.exit_code == 0:
        return Outcome(state=JobState.COMPLETED, reason=Reason.EXITED, exit_code=0)
    what = f"the command exited with {end.exit_code}"
    if end.message:
        what += f" ({end.message})"
    if tally.failures < job.retries_on_failure:
        tally.failures += 1
        wait = back_off(tally.failures, job.backoff, job.max_backoff)
        then = (
            f"Cortex starts it again in {format_duration(wait)}, "
            f"retry {tally.failures} of {job.retries_on_failure}"
        )
        return Retry(what, then, wait, exclude=False, cause="failed")
    return Outcome(
        state=JobState.FAILED, reason=Reason.EXITED, message=what, exit_code=end.exit_code
    )


def _after_loss(end: LeaseEnd, job: JobInput, tally: Tally) -> Outcome | Retry:
    if tally.losses < job.retries_on_lost:
        tally.losses += 1
        wait = back_off(tally.losses, job.backoff, job.max_backoff)
        then = (
            f"Cortex starts the job anew elsewhere in {format_duration(wait)}, "
            f"start {tally.losses} of {job.retries_on_lost} after a loss"
        )
        return Retry(end.message, then, wait, exclude=True, cause="lost")
    why = f"the job may be started anew only {job.retries_on_lost} times (`retries.on_lost`)"
    if not job.retries_on_lost:
        why = "the job is not to be started anew after a loss (`retries.on_lost` is 0)"
    message = f"{end.message}; {why}"
    return Outcome(state=JobState.FAILED, reason=Reason.LEASE_LOST, message=message)


def _after_pull(end: LeaseEnd, job: JobInput) -> Outcome | Retry:
    """The command never began, so another network is asked as after a refusal: at once, and
    without counting it as a loss.
    """
    if job.failover and job.retries_on_lost:
        then = "Cortex does not ask it again for this job and takes the next offer"
        return Retry(
            end.message,
            then,
            timedelta(0),
            exclude=True,
            cause="refused",
            ruled_out=True,
            image=True,
        )
    why = "the job takes no other offer (`placement.failover` is off)"
    if not job.retries_on_lost:
        why = "the job is not to be started anew after a loss (`retries.on_lost` is 0)"
    return Outcome(state=JobState.FAILED, reason=end.reason, message=f"{end.message}; {why}")


def back_off(
    tries: int, first: timedelta = _FIRST_WAIT, longest: timedelta = _LONGEST_WAIT
) -> timedelta:
    """By default 2 s, 4 s, 8 s … at most ten minutes."""
    return min(first * (1 << min(tries - 1, 20)), longest)
