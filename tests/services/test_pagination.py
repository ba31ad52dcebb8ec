"""Cursors: given, read back, and those that were given before in another form."""

import base64
from datetime import UTC, datetime

import pytest

from cortex.services.pagination import decode_cursor, encode_cursor, todays_form

PLACE = (datetime(2026, 11, 29, 23, 28, 39, 879798, tzinfo=UTC), "job_01m8mt78ybwkj39f3gr5331jee")


def test_one_that_was_given_is_read() -> None:
    assert decode_cursor(encode_cursor(PLACE)) == PLACE


def test_one_of_before_is_read_too() -> None:
    text = encode_cursor(PLACE).replace("-", ":", 1)
    former = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    assert former.startswith("MTc")
    assert todays_form(former) == encode_cursor(PLACE)


@pytest.mark.parametrize(
    "cursor", [encode_cursor(PLACE), "", "nonsense", "MTc5NTk5NDkxOQ", "a" * 300, "////", None, 7]
)
def test_anything_else_stays_as_it_is(cursor: object) -> None:
    assert todays_form(cursor) == cursor
