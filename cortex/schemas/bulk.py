"""Cancelling many jobs, as the API takes and shows it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from cortex.schemas._view import View


class BulkCancelRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dry_run": True}]})

    reason: str = Field(default="", max_length=500, description="Is kept with each job.")
    dry_run: StrictBool = Field(default=False, description="Only count; nothing is cancelled.")
    all: StrictBool = Field(default=False, description="Must be said where the filter is empty.")


class SkipReason(StrEnum):
    """Why a job that the filter finds is not cancelled."""

    CANCELLING = "cancelling"
    SETTLING = "settling"
    ENDED = "ended"


class SkippedJobs(View):
    reason: SkipReason
    count: int


class BulkCancelView(View):
    """What became of the jobs that a filter finds, of those that the caller may cancel."""

    dry_run: bool
    matched: int = Field(description="That the filter finds, whatever their state.")
    cancelled: int = Field(description="That are asked to end; with `dry_run`, would be.")
    skipped: tuple[SkippedJobs, ...] = ()
    remaining: int = Field(
        default=0, description="That could be cancelled too, beyond what one request does."
    )
    jobs: tuple[str, ...] = Field(default=(), description="Ids of the cancelled ones.")
