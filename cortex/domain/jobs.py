"""A job as the database knows it, and how it ended."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.money import Money
from cortex.domain.money.budgets import Covered
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState


class Reason(StrEnum):
    """Why a job ended as it did; stable, for programs."""

    EXITED = "exited"
    """The command ended by itself; the exit code says how."""
    CANCELLED = "cancelled"
    DEADLINE = "deadline_exceeded"
    NO_CAPACITY = "no_capacity"
    IMAGE_UNAVAILABLE = "image_unavailable"
    """Its image does not exist, may not be had, or could be pulled at no network."""
    OVER_BUDGET = "over_budget"
    LEASE_LOST = "lease_lost"
    DEPENDENCY_FAILED = "dependency_failed"
    """A job that it needs did not complete: it was never started."""
    GROUP_ABORTED = "group_aborted"
    """Its group was given up, by the rules of the group."""
    WORKFLOW_GONE = "workflow_gone"
    """Its workflow was terminated, or Temporal lost it: Cortex has cleaned up."""
    RESOLVED_BY_HAND = "resolved_by_hand"
    INVALID_SPEC = "invalid_spec"
    AUTHENTICATION_FAILED = "authentication_failed"
    PROVIDER_ERROR = "provider_error"
    INTERNAL_ERROR = "internal_error"


class Outcome(BaseModel):
    """The end of a job: terminal state, reason and a sentence for people."""

    model_config = ConfigDict(frozen=True)

    state: JobState
    reason: Reason
    message: str = ""
    exit_code: int | None = None


class Job(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    owner: str
    project: str = Field(default="", description="Where it belongs.")
    spec: JobSpec = Field(description="Secrets masked.")
    state: JobState
    reason: Reason | None = None
    message: str = ""
    exit_code: int | None = None
    attempt: int = 0
    provider_id: str | None = None
    group_id: str | None = None
    member: str | None = Field(default=None, description="Its name in its group.")
    gang: int | None = None
    held: bool = Field(default=False, description="Its group has not started it yet.")
    progress: Decimal | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    cost: Money
    extension: timedelta = timedelta(0)
    losses: int = Field(default=0, description="New starts after a network lost the lease.")
    failures: int = Field(default=0, description="New starts after the command failed.")
    log_bytes: int = 0
    log_dropped_bytes: int = 0
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    warned_at: datetime | None = None
    updated_at: datetime
    api_key: str | None = Field(
        default=None, description="That it was submitted with, if that has a budget."
    )

    @property
    def covered(self) -> Covered:
        """What decides which budgets cover it."""
        return Covered(self.owner, self.project, self.labels, self.api_key)
