"""Parameters of the routes: what they may be, said once for the check and for the document.

A parameter is text. What the document calls a boolean, a number or a time is taken in that form
only: `yes`, `1.0` or seconds since 1970 are refused, and not guessed at.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Header, Path, Query
from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from cortex.db.jobs.logs import LOG_CURSOR
from cortex.db.money.reports import KEYS
from cortex.db.outbox.events import POSITION
from cortex.domain.errors import NotFound
from cortex.domain.ids import GROUP_ID, JOB_ID, SCHEDULE_ID, TEMPLATE_ID, is_group_id, is_job_id
from cortex.domain.names import LABEL
from cortex.domain.units import parse_duration
from cortex.services.jobs.idempotency import IDEMPOTENCY_KEY, MAX_KEY_LENGTH
from cortex.services.money.billing import GROUPING
from cortex.services.pagination import CURSOR, NUMBER, todays_form

_DAY: Final = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE: Final = r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_TIME: Final = re.compile(f"{_DAY}[Tt ]{_CLOCK}{_ZONE}")
_AGO: Final = r"[1-9][0-9]{0,5}[smhd]"
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})")


def _flag(value: object) -> object:
    if value in ("true", "false"):
        return value == "true"
    return _same(value, bool, "must be `true` or `false`")


def _whole(value: object) -> object:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return _same(value, int, "must be a whole number")


def _moment(value: object) -> object:
    if isinstance(value, str):
        moment = _ago(value) or _time(value) or _day(value)
        if moment is not None:
            return moment
    return _same(
        value,
        datetime,
        "must be a time as in RFC 3339 (`2026-01-31T12:00:00Z`), a day (`2026-01-31`, its begin "
        "in UTC), or how long ago (`90s`, `30m`, `2h`, `7d`)",
    )


def _same(value: object, kind: type, message: str) -> object:
    """A default comes as what it is; a text that was not understood is refused."""
    if isinstance(value, kind):
        return value
    raise ValueError(message)


def _ago(text: str) -> datetime | None:
    if not re.fullmatch(_AGO, text):
        return None
    try:
        return datetime.now(UTC) - parse_duration(text)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _time(text: str) -> datetime | None:
    """A time of RFC 3339; a leap second is the begin of the next."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    leap = text[17:19] == "60"
    plain = (f"{text[:17]}59{text[19:]}" if leap else text).upper()
    try:
        time = datetime.fromisoformat(plain) + timedelta(seconds=leap)
        return time.astimezone(UTC)
    except ValueError:
        return None
    except OverflowError:  # beyond the calendar only by its offset
        return datetime.fromisoformat(plain).replace(tzinfo=UTC)


def _day(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(f"{text}T00:00:00Z") if re.fullmatch(_DAY, text) else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Form:
    """The form of a text: for the check, and for the document."""

    pattern: str
    message: str

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(kind))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, value: str) -> str:
        # `fullmatch`: in Python's reading a `$` lets a newline follow.
        if not re.fullmatch(self.pattern, value):
            raise ValueError(self.message)
        return value


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
WHOLE: Final = BeforeValidator(_whole)
"""After the bounds of an `int`."""
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "date"},
                _text(f"^{_AGO}$"),
            ],
            "examples": ["2026-01-31T12:00:00Z", "2026-01-31", "7d"],
        }
    ),
]
"""A time as the API takes it."""

# Of ids in paths only the document says the form: what has another one is simply not there (404).


def _job(value: str) -> str:
    if not is_job_id(value):
        raise NotFound(f"there is no job `{value[:60]}`")
    return value


def _group(value: str) -> str:
    if not is_group_id(value):
        raise NotFound(f"there is no group `{value[:60]}`")
    return value


def _template(value: str) -> str:
    if not re.fullmatch(TEMPLATE_ID, value):
        raise NotFound(f"there is no template `{value[:60]}`")
    return value


def _schedule(value: str) -> str:
    if not re.fullmatch(SCHEDULE_ID, value):
        raise NotFound(f"there is no schedule `{value[:60]}`")
    return value


# What has another form is no wrong parameter: there is nothing with such an id.
JobText = Annotated[str, AfterValidator(_job), WithJsonSchema(_text(JOB_ID))]
JobId = Annotated[JobText, Path(description="Id of a job.")]
GroupId = Annotated[
    str,
    AfterValidator(_group),
    WithJsonSchema(_text(GROUP_ID)),
    Path(description="Id of a group."),
]

ScheduleId = Annotated[
    str,
    AfterValidator(_schedule),
    WithJsonSchema(_text(SCHEDULE_ID)),
    Path(description="Id of a schedule."),
]
TemplateId = Annotated[
    str,
    AfterValidator(_template),
    WithJsonSchema(_text(TEMPLATE_ID)),
    Path(description="Id of a template."),
]

_NO_CURSOR: Final = "is no cursor; use the `next_cursor` of the page before, or none"
_NO_MEMBER: Final = "is no cursor; use the `members.next_cursor` of the page before, or none"
_PAGE: Final = Query(description="`next_cursor` of the page before.")
Cursor = Annotated[
    Annotated[str, Form(CURSOR, _NO_CURSOR), BeforeValidator(todays_form)] | None, _PAGE
]
ScheduleCursor = Annotated[Annotated[str, Form(SCHEDULE_ID, _NO_CURSOR)] | None, _PAGE]
TemplateCursor = Annotated[Annotated[str, Form(TEMPLATE_ID, _NO_CURSOR)] | None, _PAGE]
NumberCursor = Annotated[Annotated[str, Form(NUMBER, _NO_CURSOR)] | None, _PAGE]
MemberCursor = Annotated[
    Annotated[str, Form(JOB_ID, _NO_MEMBER)] | None,
    Query(description="`members.next_cursor` of the page before."),
]
Position = Annotated[str, Form(POSITION, "is no event position; use one that an event carried")]
LogCursor = Annotated[str, Form(LOG_CURSOR, "is no log cursor; use one that a line carried")]
Labels = Annotated[
    list[Annotated[str, Form(LABEL, "must be `key=value`")]] | None,
    Query(description="`key=value`; all must match."),
]
Grouping = Annotated[
    str,
    Form(
        GROUPING, f"must be one of {', '.join(KEYS)} or `label:<key>`, or two of them with a comma"
    ),
]
IdempotencyKey = Annotated[
    Annotated[
        str, Form(IDEMPOTENCY_KEY, f"must be 1 to {MAX_KEY_LENGTH} printable ASCII characters")
    ]
    | None,
    Header(alias="Idempotency-Key", description="Makes it safe to send the request again."),
]
