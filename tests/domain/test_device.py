"""Codes that people type, and codes that programs keep."""

import pytest

from cortex.domain.device import DeviceCodes, is_device_code, read_user_code


def test_made_codes_are_read() -> None:
    made = [DeviceCodes.make() for _ in range(50)]
    for codes in made:
        assert is_device_code(codes.device_code)
        assert read_user_code(codes.user_code) == codes.user_code
        assert codes.device_code not in repr(codes)
    assert len({codes.user_code for codes in made}) == 50


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("bcdf-ghjk", "BCDF-GHJK"),
        (" BCDFGHJK ", "BCDF-GHJK"),
        ("bcdf ghjk", "BCDF-GHJK"),
        ("BCDF-GHJ", None),
        ("BCDF-GHJKL", None),
        ("ABCD-EFGH", None),
        ("BCD0-GHJK", None),
        ("", None),
        ("B" * 10_000, None),
    ],
)
def test_as_it_is_typed(typed: str, read: str | None) -> None:
    assert read_user_code(typed) == read
