"""Schedules: when a job or group is submitted by itself, and what became of each time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.schedules.cron import parse_cron, parse_zone

MOST_PER_PROJECT: Final = 200
MOST_BACKFILLED: Final = 1000
"""Runs of one backfill."""
KEPT_BACKFILLS: Final = 50


class Overlap(StrEnum):
    """What is done when the job of an earlier time has not ended yet."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    """One waits for its end; others are skipped meanwhile."""
    ALLOW_ALL = "allow_all"
    CANCEL_OTHER = "cancel_other"
    """The earlier one is cancelled, and the new one submitted at once."""


class RunState(StrEnum):
    """What became of one time."""

    WAITING = "waiting"
    """For the end of the job before it."""
    SUBMITTED = "submitted"
    SKIPPED = "skipped"
    REFUSED = "refused"
    """The job was not taken; `message` says why."""


class Cause(StrEnum):
    """Why there is a run."""

    CRON = "cron"
    BACKFILL = "backfill"
    TRIGGER = "trigger"


class ScheduleRun(BaseModel):
    """One time of a schedule, and what became of it.

    Attributes:
        due_at: The time that the cron expression names; of a trigger, when it was.
        made: Id of the job or group.
    """

    model_config = ConfigDict(frozen=True)

    due_at: datetime
    cause: Cause
    state: RunState
    made: str | None = None
    message: str = ""
    updated_at: datetime


class Span(BaseModel):
    """A span of time whose runs are made up for."""

    model_config = ConfigDict(frozen=True)

    start: datetime
    end: datetime


class Schedule(BaseModel):
    """When what is submitted, as its owner wants it.

    Attributes:
        owner: In whose name jobs are submitted, with the rights of then.
        api_key: The API key that it was made with, if that has a budget: its jobs count there.
        template: Name of the template that they are made from; else there is a `job`.
        template_version: None: the latest of then.
        params: What is given for the template's parameters.
        overrides: Merged into what the template becomes.
        job: The job spec, if they are made from none.
        catchup: A time that could not be kept is made up for within this.
        jitter: At most so much later, by chance, is it submitted.
        paused: Nothing is submitted but what is triggered or backfilled.
        note: Of whoever paused it.
        pause_reason: Why Cortex has paused it, if it has.
        revision: Grows with each change.
        told_revision: The last one that Temporal was told.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    project: str
    owner: str
    api_key: str | None = None
    name: str
    description: str
    cron: str
    timezone: str
    overlap: Overlap
    catchup: timedelta
    jitter: timedelta
    start_at: datetime | None
    end_at: datetime | None
    template_id: str | None
    template: str | None
    template_version: int | None
    params: dict[str, str] = Field(default_factory=dict)
    overrides: dict[str, Any] = Field(default_factory=dict)
    job: dict[str, Any] | None
    paused: bool
    note: str
    pause_reason: str
    revision: int
    told_revision: int
    backfills: tuple[Span, ...] = ()
    created_at: datetime
    updated_at: datetime

    def next_runs(self, after: datetime, count: int) -> list[datetime]:
        """The times after one that are due, without jitter; none while it is paused."""
        if self.paused:
            return []
        # A second before: a time that is just the start is due.
        begin = max(after, (self.start_at or after) - timedelta(seconds=1))
        times = parse_cron(self.cron).times(parse_zone(self.timezone), begin)
        return [time for time in islice(times, count) if self.end_at is None or time <= self.end_at]

    def is_backfill(self, due_at: datetime) -> bool:
        """Whether somebody asked for this time to be made up for."""
        return any(span.start <= due_at <= span.end for span in self.backfills)


def times_between(
    cron: str, timezone: str, start: datetime, end: datetime, most: int
) -> list[datetime]:
    """The times in a span, its ends included; at most one more than `most`."""
    times = parse_cron(cron).times(parse_zone(timezone), start - timedelta(seconds=1))
    return list(islice(_until(times, end), most + 1))


def _until(times: Any, end: datetime) -> Any:
    for time in times:
        if time > end:
            return
        yield time


def ever_due(
    cron: str, timezone: str, start: datetime | None, end: datetime | None, now: datetime
) -> bool:
    """Whether there is a time after now within its bounds."""
    begin = max(now, (start or now) - timedelta(seconds=1)).astimezone(UTC)
    first: Sequence[datetime] = list(islice(parse_cron(cron).times(parse_zone(timezone), begin), 1))
    return bool(first) and (end is None or first[0] <= end)
