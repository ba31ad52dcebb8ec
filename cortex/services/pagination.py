"""Opaque cursors of lists: where a page ended."""

import base64
import binascii
from datetime import UTC, datetime, timedelta

from cortex.domain.errors import FieldError, InvalidRequest

Place = tuple[datetime, str]
"""The time and id of the last entry of a page."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode_cursor(place: Place) -> str:
    """A url-safe text for a place in a list."""
    time, entry_id = place
    text = f"{(time - _EPOCH) // _MICROSECOND}:{entry_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> Place | None:
    """The place that a cursor stands for.

    Raises:
        InvalidRequest: it is none of ours.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        micros, _, entry_id = text.partition(":")
        if not micros.isdecimal() or not entry_id or len(cursor) > 200:
            raise ValueError(text)
        return _EPOCH + int(micros) * _MICROSECOND, entry_id
    except (ValueError, OverflowError, binascii.Error):
        message = "is no cursor; use the `next_cursor` of the page before, or none"
        raise InvalidRequest(
            f"`cursor` {message}", errors=[FieldError(field="cursor", message=message)]
        ) from None
