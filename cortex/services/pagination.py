"""Opaque cursors of lists: where a page ended."""

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from cortex.domain.errors import FieldError, InvalidRequest

Place = tuple[datetime, str]
"""The time and id of the last entry of a page."""

CURSOR: Final = "^[0-9]{1,17}-[0-9A-Za-z_-]{1,80}$"
"""What a cursor looks like. Whatever looks so is a place in a list, be there an entry or not."""
NUMBER: Final = "^[0-9]{1,18}$"
"""The same, of lists that are counted."""

_FORMER: Final = "[0-9A-Za-z_-]{8,200}"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode_cursor(place: Place) -> str:
    """A url-safe text for a place in a list."""
    time, entry_id = place
    return f"{(time - _EPOCH) // _MICROSECOND}-{entry_id}"


def decode_cursor(cursor: str | None) -> Place | None:
    """The place that a cursor stands for.

    Raises:
        InvalidRequest: it is none of ours.
    """
    if cursor is None:
        return None
    if not re.fullmatch(CURSOR, cursor):
        raise no_cursor()
    micros, _, entry_id = cursor.partition("-")
    return _EPOCH + int(micros) * _MICROSECOND, entry_id


def todays_form(cursor: object) -> object:
    """A cursor that was given before this form, `MTc5...`, in this form; anything else as it is."""
    if not isinstance(cursor, str) or not re.fullmatch(_FORMER, cursor):
        return cursor
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        return cursor
    return text.replace(":", "-", 1) if re.fullmatch(CURSOR, text.replace(":", "-", 1)) else cursor


def decode_number(cursor: str | None) -> int | None:
    """The same for lists that are counted.

    Raises:
        InvalidRequest: it is none of ours.
    """
    if cursor is None:
        return None
    if not re.fullmatch(NUMBER, cursor):
        raise no_cursor()
    return int(cursor)


def no_cursor() -> InvalidRequest:
    """It is none of ours."""
    message = "is no cursor; use the `next_cursor` of the page before, or none"
    return InvalidRequest(
        f"`cursor` {message}", errors=[FieldError(field="cursor", message=message)]
    )
