"""Variables that a program can be given."""

import re
from collections.abc import Mapping
from typing import Final

MAX_ENV_BYTES: Final = 128 * 1024
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def check_env(env: Mapping[str, str]) -> None:
    """Refuse variables that no program can be given, or too many of them.

    Raises:
        ValueError: says which, never its value.
    """
    for name, text in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(
                f"`{name[:60]}` must be letters, digits and `_.-`, and begin with a letter or `_`"
            )
        if "\0" in text:
            raise ValueError(f"`{name}` must not contain a NUL character")
    size = sum(len(name) + len(text.encode()) + 2 for name, text in env.items())
    if size > MAX_ENV_BYTES:
        raise ValueError(
            f"has {size:,} bytes with its names and may have at most {MAX_ENV_BYTES:,}; "
            "pass large data as a file"
        )
