"""What the routes about schedules take and answer."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from cortex.domain.errors import wrong_field
from cortex.domain.names import NAME, NO_NUL
from cortex.domain.quantities import Duration
from cortex.domain.schedules import Overlap, ScheduleRun
from cortex.domain.schedules.cron import CRON, LONGEST, parse_cron, parse_zone
from cortex.domain.spec.rules import span
from cortex.domain.templates.parameters import Given
from cortex.domain.units import format_duration
from cortex.schemas._view import View
from cortex.schemas.templates import (
    MOST_PARAMETERS,
    Description,
    JobPart,
    Overrides,
    ParameterName,
    Version,
    has_one_of,
)

_SHORTEST_CATCHUP: Final = timedelta(seconds=10)
_LONGEST_CATCHUP: Final = timedelta(days=30)
_LONGEST_JITTER: Final = timedelta(hours=1)
CATCHUP: Final = timedelta(hours=1)
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _cron(text: str) -> str:
    parse_cron(text)
    return text


def _zone(name: str) -> str:
    parse_zone(name)
    return name


def _moment(value: object) -> object:
    """Texts of RFC 3339 only, in the years that a schedule may be about."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("must be a time as in RFC 3339, such as `2026-12-01T06:00:00Z`")
    try:
        time = datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError("is no time of the calendar") from None
    if not _FIRST <= time < _LAST:
        raise ValueError("must be a time from 2000 to 2199")
    return time.astimezone(UTC)


def _spelled(least: timedelta, most: timedelta) -> BeforeValidator:
    text = re.compile(span(least, most)["anyOf"][1]["pattern"])

    def as_written(value: object) -> object:
        if isinstance(value, str) and not text.fullmatch(value):
            bounds = f"from {format_duration(least)} to {format_duration(most)}"
            raise ValueError(f"must be such as `90s`, `10m` or `24h`, {bounds}")
        return value

    return BeforeValidator(as_written)


Cron = Annotated[
    str,
    StringConstraints(max_length=LONGEST),
    AfterValidator(_cron),
    WithJsonSchema(
        {"type": "string", "pattern": CRON, "maxLength": LONGEST, "examples": ["0 6 * * 1-5"]}
    ),
    Field(description="Minute, hour, day of month, month, day of week."),
]
Zone = Annotated[
    str,
    StringConstraints(max_length=100),
    AfterValidator(_zone),
    WithJsonSchema(
        {"type": "string", "pattern": "^[A-Za-z0-9_+/-]{1,100}$", "examples": ["Europe/Berlin"]}
    ),
    Field(description="By its name in the IANA database."),
]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Catchup = Annotated[
    Duration,
    Field(ge=_SHORTEST_CATCHUP, le=_LONGEST_CATCHUP),
    _spelled(_SHORTEST_CATCHUP, _LONGEST_CATCHUP),
    WithJsonSchema(span(_SHORTEST_CATCHUP, _LONGEST_CATCHUP)),
]
Jitter = Annotated[
    Duration,
    Field(ge=timedelta(seconds=1), le=_LONGEST_JITTER),
    _spelled(timedelta(seconds=1), _LONGEST_JITTER),
    WithJsonSchema(span(timedelta(seconds=1), _LONGEST_JITTER)),
]
Params = Annotated[
    dict[ParameterName, Given],
    Field(
        max_length=MOST_PARAMETERS,
        json_schema_extra={"additionalProperties": False},
        description="Values by the names of parameters; kept in clear.",
    ),
]
Note = Annotated[str, StringConstraints(pattern=NO_NUL, max_length=500)]
TemplateName = Annotated[str, StringConstraints(pattern=NAME)]


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    template: TemplateName | None = Field(
        default=None, description="Name of a template of the same project."
    )
    template_version: Version | None = Field(default=None, description="Else the latest of then.")
    job: JobPart | None = Field(default=None, description="In place of a template: a job spec.")

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.template is not None and self.job is not None:
            raise wrong_field("job", "cannot stand beside a `template`: give one of both")
        return self


class ScheduleCreate(_Wanted):
    """A new schedule: of a `template`, or of a `job`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=has_one_of({"template": "string", "job": "object"}),
    )

    name: str = Field(pattern=NAME)
    description: Description = ""
    cron: Cron
    timezone: Zone = "UTC"
    overlap: Overlap = Overlap.SKIP
    catchup: Catchup = Field(
        default=CATCHUP, description="A time that was missed is made up for within this."
    )
    jitter: Jitter | None = Field(default=None, description="Up to so much later, by chance.")
    start_at: Moment | None = None
    end_at: Moment | None = None
    params: Params = Field(default_factory=dict)
    overrides: Overrides = Field(default_factory=dict)
    paused: StrictBool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.template is None and self.job is None:
            raise wrong_field("template", "is required, or a `job` instead")
        return self


class ScheduleUpdate(_Wanted):
    """What is changed of a schedule; what is not given stays."""

    description: Description | None = None
    cron: Cron | None = None
    timezone: Zone | None = None
    overlap: Overlap | None = None
    catchup: Catchup | None = None
    jitter: Jitter | None = Field(default=None, description="null: none any more.")
    start_at: Moment | None = Field(default=None, description="null: none any more.")
    end_at: Moment | None = Field(default=None, description="null: none any more.")
    params: Params | None = None
    overrides: Overrides | None = None


class SchedulePause(BaseModel):
    """Why it is paused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    note: Note = ""


class BackfillRequest(BaseModel):
    """A span of the past whose times are made up for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Moment
    end: Moment


class ScheduleView(View):
    """A schedule with the times that come next."""

    id: str
    project: str
    owner: str
    name: str
    description: str
    cron: str
    timezone: str
    overlap: Overlap
    catchup: Duration
    jitter: Duration | None
    start_at: datetime | None
    end_at: datetime | None
    template: str | None
    template_version: int | None
    params: dict[str, str]
    overrides: dict[str, Any]
    job: dict[str, Any] | None
    paused: bool
    note: str = Field(description="Of whoever paused it.")
    pause_reason: str = Field(description="Why Cortex has paused it, if it has.")
    told: bool = Field(description="Whether Temporal, which fires it, has its last change.")
    next_runs: tuple[datetime, ...]
    created_at: datetime
    updated_at: datetime


class SchedulePage(View):
    """Schedules, the newest first."""

    items: tuple[ScheduleView, ...]
    next_cursor: str | None = None


class ScheduleRunPage(View):
    """Runs of a schedule, the latest first."""

    items: tuple[ScheduleRun, ...]
    next_cursor: str | None = None


class BackfillView(View):
    """How many times are made up for: those of the span that had no job yet."""

    count: int
