"""Inputs and outputs of the activities. Stored in histories: add fields with defaults only."""

from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cortex.domain.jobs import Outcome, Reason
from cortex.temporal.contracts import LeaseChange


class _Message(BaseModel):
    # Their schemas are built when they are first used: a process uses few of them.
    model_config = ConfigDict(frozen=True, defer_build=True)


class PlaceInput(_Message):
    job_id: str
    attempt: int
    excluded: tuple[str, ...] = ()
    """Providers that fell through already; not asked again in this round."""
    excluded_offers: tuple[str, ...] = ()
    """Offers (`Offer.identity`) that fell through in this round; others of theirs may do."""
    asks_again: bool = False
    """Even if nobody offers and that would be no reason to."""
    wait: timedelta = timedelta(0)
    until: datetime | None = None
    """If nobody offers now: when it is asked again, and for how long at most."""


class PlaceResult(_Message):
    """Where the attempt goes, or why nowhere."""

    lease_key: str | None = None
    provider_id: str | None = None
    offer: str | None = None
    """Which of the provider's offers (`Offer.identity`)."""
    one_step: bool = False
    """A job that waits for no gang reserves and commits with `acquire`; so says every worker that
    has it. In a history of before nobody did, and none of its jobs has another order of steps."""
    reason: Reason | None = None
    message: str = ""
    try_again: bool = False
    """Nothing now, but that may change: the placement timeout decides."""


class LeaseInput(_Message):
    job_id: str
    lease_key: str
    provider_id: str


class CommitResult(_Message):
    """The lease is live until `deadline_at`; `change` tells how it does, where that is known."""

    deadline_at: datetime
    change: LeaseChange | None = None


class AcquireResult(_Message):
    """What a commit results in; without a deadline nothing was started: the job is cancelled."""

    deadline_at: datetime | None = None
    change: LeaseChange | None = None


class WarnInput(_Message):
    """The job's deadline, as its workflow knows it, is near."""

    job_id: str
    lease_key: str
    deadline_at: datetime


class WarnResult(_Message):
    """The job's deadline as it is now; later than asked about if the job was extended."""

    deadline_at: datetime | None = None


class CheckResult(_Message):
    """What the provider itself says; `change` if the lease has ended."""

    change: LeaseChange | None = None
    deadline_at: datetime | None = None


class SettleInput(_Message):
    """Release, book, and close the job with `outcome`, or go back to placing with `retry`."""

    job_id: str
    lease_key: str
    outcome: Outcome | None = None
    retry: str = ""
    """Why the job is placed again: shown to the user."""
    next: str = ""
    """What Cortex does about it."""
    lease_only: bool = False
    """Leave the job as it is: neither close it nor place it again."""
    failure: Literal["", "lost", "refused"] = ""
    """What the network is to be blamed for: counted against it when offers are ranked."""
    cause: Literal["", "lost", "failed", "refused"] = ""
    """Why the job is placed again, for programs."""
    deadline: datetime | None = None
    """The deadline that ended it: if the job has a later one by now, nothing is settled."""


class SettleResult(_Message):
    """What a settlement came to; none (in histories of before) means that it is done."""

    deadline_at: datetime | None = None
    """The job's later deadline: it was extended before the settlement began, and goes on."""


class FinishInput(_Message):
    """Close a job that holds no lease."""

    job_id: str
    outcome: Outcome


class WatchInput(_Message):
    provider_id: str


class BudgetsResult(_Message):
    """What one look at all budgets came to."""

    budgets: int = 0
    alerts: int = 0
    stopped: int = 0


class AdvanceInput(_Message):
    """Do what is to be done about a group now; `cancel` asks for its end first."""

    group_id: str
    cancel: str = ""


class AdvanceResult(_Message):
    """Where the group is, and when to look again if nobody calls."""

    state: str
    message: str = ""
    done: bool = False
    wait: timedelta = timedelta(minutes=1)
    pause: timedelta = timedelta(0)
    """How long to gather calls before the next look: large groups are called often."""


class VerdictInput(_Message):
    """May this lease be committed?"""

    job_id: str
    lease_key: str


class VerdictResult(_Message):
    """What the gang has decided; with `wait`, how long there may be no answer at most."""

    answer: Literal["commit", "abort", "wait"]
    reason: str = ""
    wait: timedelta = timedelta(minutes=1)


class WakeInput(_Message):
    group_id: str
