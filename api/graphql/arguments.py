"""Arguments of fields, read as REST reads its parameters."""

import re
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

import api.respond
from api.graphql.pages import wrong
from api.params import Moment
from cortex.db.outbox.events import POSITION
from cortex.domain.errors import NotFound, field_errors
from cortex.domain.ids import SCHEDULE_ID, TEMPLATE_ID, is_group_id, is_job_id
from cortex.services.pagination import todays_form

_MOMENT: Final[TypeAdapter[datetime]] = TypeAdapter(Moment)


def job_id(text: str) -> str:
    """The id of a job.

    Raises:
        NotFound: no job has one of this form.
    """
    if not is_job_id(text):
        raise named("job", text)
    return text


def group_id(text: str) -> str:
    """The id of a group.

    Raises:
        NotFound: no group has one of this form.
    """
    if not is_group_id(text):
        raise named("group", text)
    return text


def template_id(text: str) -> str:
    """The id of a template.

    Raises:
        NotFound: no template has one of this form.
    """
    if not re.fullmatch(TEMPLATE_ID, text):
        raise named("template", text)
    return text


def schedule_id(text: str) -> str:
    """The id of a schedule.

    Raises:
        NotFound: no schedule has one of this form.
    """
    if not re.fullmatch(SCHEDULE_ID, text):
        raise named("schedule", text)
    return text


def named(what: str, text: str) -> NotFound:
    """There is none."""
    return NotFound(f"there is no {what} `{text[:60]}`")


def moment(name: str, text: str | None) -> datetime | None:
    """A time.

    Raises:
        InvalidRequest: it is none.
    """
    if text is None:
        return None
    try:
        return _MOMENT.validate_python(text)
    except ValidationError as error:
        raise wrong(camel(name), field_errors(error)[0].message) from None


def position(text: str | None) -> str | None:
    """The position of an event.

    Raises:
        InvalidRequest: it is none.
    """
    if text is not None and not re.fullmatch(POSITION, text):
        raise wrong("after", "is no event position; use one that an event carried")
    return text


def camel(name: str) -> str:
    """A name as the schema has it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def labels_of(given: list[str] | None) -> dict[str, str]:
    """Labels from `key=value`.

    Raises:
        InvalidRequest: one has another form, or a key stands there with two values.
    """
    return api.respond.labels_of(given or [])


def cursor_of(after: str | None) -> str | None:
    """A cursor, in the form of today."""
    cursor: Any = todays_form(after)
    return None if cursor is None else str(cursor)
