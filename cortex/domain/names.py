"""Names of jobs and groups."""

import re

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


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
