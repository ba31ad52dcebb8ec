"""The trace of a job or group: every step of the protocol, and the facts it is made from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.events import Event
from cortex.domain.jobs import Job
from cortex.domain.leases import Lease
from cortex.domain.money.ledger import LedgerEntry


class Phase(StrEnum):
    """The steps of the protocol, in the order in which a job goes through them."""

    ACCEPT = "accept"
    START = "start"
    PLACE = "place"
    INTEND = "intend"
    RESERVE = "reserve"
    VERDICT = "verdict"
    COMMIT = "commit"
    WATCH = "watch"
    EXTEND = "extend"
    STOP = "stop"
    RESOLVE = "resolve"
    SETTLE = "settle"
    BOOK = "book"
    RELEASE = "release"
    CLOSE = "close"


class StepState(StrEnum):
    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"
    """For its next try, for somebody else's decision, or for its turn."""
    FAILED = "failed"
    COMPENSATED = "compensated"
    """Done, and undone again."""
    SKIPPED = "skipped"
    """Not needed any more when its turn came."""


class TraceStep(BaseModel):
    """One step."""

    model_config = ConfigDict(frozen=True)

    phase: Phase
    part: str = Field(default="", description="Of a settlement: which call; of a group: the gang.")
    state: StepState
    job_id: str | None = None
    member: str | None = None
    attempt: int | None = None
    lease_key: str | None = None
    provider_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tries: int | None = Field(default=None, description="None: not known, such as without Temporal")
    sent: str = Field(default="", description="What was sent.")
    to: str = Field(default="", description="To whom.")
    known: str = Field(default="", description="What came of it, as far as it is known.")
    error: str = Field(default="", description="What went wrong last.")
    next_try_at: datetime | None = None
    compensates: tuple[Phase, ...] = ()


class Participant(BaseModel):
    """A member of a group, as the protocol sees it now."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    member: str
    gang: int | None = None
    state: str
    reason: str | None = None
    message: str = ""
    provider_id: str | None = None
    lease_key: str | None = None
    lease_state: str | None = None
    cost: str = ""


Source = Literal["read", "away", "gone", "not_asked"]
"""`read`: Temporal's history is in the trace. Else the database alone tells it."""


class Trace(BaseModel):
    """All steps of a job or group, in their order."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Literal["job", "group"]
    name: str
    owner: str
    state: str
    reason: str | None = None
    message: str = ""
    created_at: datetime
    finished_at: datetime | None = None
    steps: tuple[TraceStep, ...] = ()
    participants: tuple[Participant, ...] = ()
    temporal: Source = "read"
    notes: tuple[str, ...] = Field(default=(), description="What is missing, and why.")


@dataclass(frozen=True)
class Ran:
    """One activity in Temporal's history, or pending there."""

    activity: str
    queue: str = ""
    lease_key: str | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tries: int = 1
    outcome: Literal["pending", "done", "failed", "timed_out", "cancelled"] = "pending"
    running: bool = False
    error: str = ""
    at: str = ""
    next_at: datetime | None = None


@dataclass(frozen=True)
class History:
    """What Temporal knows of a workflow."""

    source: Source
    note: str = ""
    ran: Sequence[Ran] = ()
    signals: Sequence[tuple[str, datetime]] = ()
    wakes_at: datetime | None = None
    """The earliest timer that is set."""

    def of(self, activity: str, lease_key: str | None = None) -> list[Ran]:
        """All runs of an activity (for a lease), in their order."""
        return [
            step
            for step in self.ran
            if step.activity == activity and lease_key in (None, step.lease_key)
        ]


@dataclass(frozen=True)
class StatusFact:
    state: str
    attempt: int
    message: str
    time: datetime


@dataclass(frozen=True)
class CommandFact:
    """Something that Temporal was to be told."""

    kind: str
    created_at: datetime
    done_at: datetime | None
    due_at: datetime
    attempts: int
    error: str


@dataclass(frozen=True)
class GangFact:
    """The gang of a job, or one of a group."""

    gang: int
    decision: str | None
    reason: str
    started_at: datetime | None
    deadline_at: datetime | None
    decided_at: datetime | None


@dataclass(frozen=True)
class JobStory:
    """What the database knows of a job."""

    job: Job
    statuses: Sequence[StatusFact] = ()
    leases: Sequence[Lease] = ()
    entries: Sequence[LedgerEntry] = ()
    commands: Sequence[CommandFact] = ()
    events: Sequence[Event] = ()
    gang: GangFact | None = None


@dataclass(frozen=True)
class GroupStory:
    """What the database knows of a group."""

    id: str
    name: str
    owner: str
    state: str
    reason: str | None
    message: str
    created_at: datetime
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    cancel_reason: str
    gangs: Sequence[GangFact] = ()
    commands: Sequence[CommandFact] = ()
    members: Sequence[JobStory] = field(default=())
