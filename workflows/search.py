"""Looking for capacity, and what an error on the way means: pure rules, as in `decisions`."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

from activities.contracts import PlaceInput, PlaceResult
from cortex.domain.failures import FailureType
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.states import JobState
from cortex.temporal.contracts import JobInput
from workflows.decisions import End, LeaseEnd, Retry, back_off

# Errors of prepare and commit after which another provider may still do the job.
_REFUSALS: Mapping[str | None, Reason] = {
    FailureType.NO_CAPACITY: Reason.NO_CAPACITY,
    FailureType.PULL_FAILED: Reason.IMAGE_UNAVAILABLE,
    FailureType.IMAGE_UNAVAILABLE: Reason.IMAGE_UNAVAILABLE,
    FailureType.UNSUITABLE: Reason.NO_CAPACITY,
    FailureType.INSUFFICIENT_FUNDS: Reason.NO_CAPACITY,
    FailureType.UNAVAILABLE: Reason.NO_CAPACITY,
    FailureType.RATE_LIMITED: Reason.NO_CAPACITY,
    FailureType.OUTCOME_UNKNOWN: Reason.NO_CAPACITY,
    FailureType.LEASE_LOST: Reason.LEASE_LOST,
    FailureType.AUTHENTICATION_FAILED: Reason.AUTHENTICATION_FAILED,
}

# After these, the same provider is not asked again.
_FOR_GOOD = (
    FailureType.UNSUITABLE,
    FailureType.IMAGE_UNAVAILABLE,
    FailureType.AUTHENTICATION_FAILED,
)


class Search:
    """Looking for capacity: who fell through, and until when it goes on."""

    def __init__(self, job: JobInput, now: datetime) -> None:
        self._job_id = job.job_id
        self._patience = job.placement_timeout
        self.until = now + self._patience
        self._rounds = 0  # in vain; also those where an offer was made and then refused
        self._excluded: list[str] = []
        self._fallen: list[str] = []  # single offers
        self._ruled_out: list[str] = []
        self._last_refusal: Retry | None = None

    def placing(self, attempt: int, now: datetime) -> PlaceInput:
        """What the step is asked to do in this round."""
        return PlaceInput(
            job_id=self._job_id,
            attempt=attempt,
            excluded=(*self._ruled_out, *self._excluded),
            excluded_offers=tuple(self._fallen),
            asks_again=bool(self._excluded or self._fallen),
            wait=self._pause(now, self._rounds + 1),
            until=self.until,
        )

    def after(self, retry: Retry, placement: PlaceResult, now: datetime) -> None:
        """A lease ended and the job is placed again."""
        if retry.wait:  # it had run: a new search begins
            self.until = now + retry.wait + self._patience
            self._rounds = 0
        else:
            self._last_refusal = retry
        if not retry.exclude:
            self._forget()
        elif retry.one_offer and placement.offer not in (None, placement.provider_id):
            self._fallen.append(placement.offer or "")
        elif placement.provider_id is not None:
            passed = self._ruled_out if retry.ruled_out else self._excluded
            passed.append(placement.provider_id)

    def missed(self, placement: PlaceResult, now: datetime) -> Outcome | None:
        """Nobody offered. None: ask again. An outcome: the time is over or it cannot help."""
        again = placement.try_again or bool(self._excluded or self._fallen)
        self._forget()
        self._rounds += 1
        if again and now < self.until:
            return None
        refused = self._last_refusal.message if self._last_refusal else ""
        message = "; ".join(filter(None, (refused, placement.message)))
        reason = placement.reason or Reason.NO_CAPACITY
        if self._last_refusal and self._last_refusal.image and reason is Reason.NO_CAPACITY:
            reason = Reason.IMAGE_UNAVAILABLE
        return Outcome(state=JobState.FAILED, reason=reason, message=message)

    def _forget(self) -> None:
        self._excluded.clear()
        self._fallen.clear()

    def wait(self, now: datetime) -> timedelta:
        return self._pause(now, self._rounds)

    def _pause(self, now: datetime, rounds: int) -> timedelta:
        return max(min(back_off(rounds), self.until - now), timedelta(seconds=1))


def unplaced(error: FailureError) -> Outcome:
    """Placing failed for good, which is a fault of ours: the job must end all the same."""
    message = f"the job could not be placed: {error.cause or error}"
    return Outcome(state=JobState.FAILED, reason=Reason.INTERNAL_ERROR, message=message)


def end_of_error(error: ActivityError, placement: PlaceResult) -> LeaseEnd:
    cause = error.cause
    if is_cancelled_exception(error):
        return LeaseEnd(End.STOPPED, Reason.CANCELLED, "cancelled in Temporal")
    if not isinstance(cause, ApplicationError):
        message = f"`{placement.provider_id}` did not answer in time"
        return LeaseEnd(End.REFUSED, Reason.NO_CAPACITY, message)
    message = f"`{placement.provider_id}`: {cause.message}"
    if cause.type in _REFUSALS:
        return LeaseEnd(
            End.REFUSED,
            _REFUSALS[cause.type],
            message,
            ruled_out=cause.type in _FOR_GOOD,
            one_offer=cause.type == FailureType.NO_CAPACITY,
        )
    if cause.type == FailureType.NO_SUCH_IMAGE:
        return LeaseEnd(End.BROKEN, Reason.IMAGE_UNAVAILABLE, message)
    if cause.type == FailureType.INVALID_SPEC:
        return LeaseEnd(End.BROKEN, Reason.INVALID_SPEC, message)
    if cause.type == FailureType.LEASE_RELEASED:
        return LeaseEnd(End.BROKEN, Reason.INTERNAL_ERROR, message)
    return LeaseEnd(End.BROKEN, Reason.PROVIDER_ERROR, message)
