"""Inputs and results of the workflows `Reconcile` and `Rescue`. Add fields with defaults only."""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.reconcile import Finding
from cortex.domain.states import JobState

RECONCILE_BOOKS: Final = "reconcile:books"
"""Id of the schedule that compares jobs, groups and holds with Temporal."""

Mode = Literal["act", "tell", "list"]
"""`act`: close what is due. `tell`: only write down and tell. `list`: write nothing at all."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class ReconcileInput(_Message):
    providers: tuple[str, ...] = ()
    """Whose networks are asked."""
    books: bool = False
    """Whether jobs, groups and holds are looked at."""
    mode: Mode = "act"
    again: bool = False
    """Whether to wait for what is not due yet, and look once more then."""
    wait: timedelta = timedelta(seconds=30)
    """How long a provider's queue may leave the question lying; then nobody serves it."""


class ScopeInput(_Message):
    """One part of a run: a provider, or without one the books."""

    provider_id: str | None = None
    mode: Mode = "act"


class SeenFinding(_Message):
    """A finding of this run, and what became of it."""

    finding: Finding
    done: str = ""
    """What was done about it in this run; empty: nothing yet."""
    next: str = ""
    """What Cortex does about it."""
    due_at: datetime | None = None
    """When something is done about it, if that is to come."""


class ScopeResult(_Message):
    """What one part of a run came to."""

    provider_id: str | None = None
    error: str = ""
    """Why it came to nothing: no finding is opened or closed then."""
    checked: int = 0
    """How many leases, jobs, groups and holds were looked at."""
    findings: tuple[SeenFinding, ...] = ()
    more: int = 0
    """Findings that are not named here."""


class ReconcileResult(_Message):
    mode: Mode = "act"
    scopes: tuple[ScopeResult, ...] = ()
    finished_at: datetime | None = None


class RescueInput(_Message):
    job_id: str
    heartbeat_timeout: timedelta = timedelta(seconds=15)


class RescueResult(_Message):
    """`state` is the job's at the end; without one nothing was done, and `message` says why."""

    state: JobState | None = None
    message: str = Field(default="")
