"""Names of jobs, groups and secrets."""

import re
from typing import Final

NAME: Final = "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"
"""What a name of a job or group looks like."""

# Written so that Python, Rust and JSON Schema (ECMA 262) read them alike.
# Controls, ends of lines, and marks that are not seen or turn the text around.
_CONTROL: Final = r"\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_SPACE: Final = r" \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
NO_NUL: Final = r"^[^\u0000]*$"
"""A text that the database can hold."""
ONE_LINE: Final = rf"^[^{_CONTROL}]*[^{_CONTROL}{_SPACE}][^{_CONTROL}]*$"
"""A text of one line in which something is to be seen."""
WORDS: Final = rf"^[^\u0000]*[^{_CONTROL}{_SPACE}][^\u0000]*$"
"""A text in which something is to be seen."""
LABEL: Final = rf"^[^={_CONTROL}]{{1,63}}=[^{_CONTROL}]{{0,255}}$"
"""A label as `key=value`."""

_ONE_LINE = re.compile(ONE_LINE)

SECRET_MASK: Final = "**********"
"""Stands where a secret is not shown."""

SECRET_NAME: Final = "^[A-Za-z0-9_]([A-Za-z0-9._-]{0,61}[A-Za-z0-9_])?$"
"""What a name of a secret of a project looks like."""

_NAME = re.compile(NAME)
_SECRET_NAME = re.compile(SECRET_NAME)


def check_name(value: str) -> str:
    """The name, if it is one.

    Raises:
        ValueError: it is not; says what a name is made of.
    """
    if not _NAME.fullmatch(value):
        raise ValueError(
            "must be 1 to 63 lower-case letters, digits, `.`, `_` or `-`, "
            "and begin and end with a letter or digit"
        )
    return value


def check_secret_name(value: str) -> str:
    """The name of a secret, if it is one.

    Raises:
        ValueError: it is not; says what such a name is made of.
    """
    if not _SECRET_NAME.fullmatch(value):
        raise ValueError(
            "must be the name of a secret: 1 to 63 letters, digits, `.`, `_` or `-`, "
            "and begin and end with a letter, a digit or `_`"
        )
    return value


def one_line(value: str) -> str:
    """The text, if it is one line in which something is to be seen.

    Raises:
        ValueError: it is not.
    """
    if not _ONE_LINE.fullmatch(value):
        raise ValueError("must be one line of text, without control characters")
    return value


def one_line_or_none(value: str) -> str:
    """The same, or nothing at all.

    Raises:
        ValueError: it is neither.
    """
    return one_line(value) if value else value
