"""Words as a POSIX shell is given them, and the names that it can hold."""

import re
import shlex
from collections.abc import Iterable
from typing import Final

SHELL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def ascii_word(text: str) -> str:
    """One word of POSIX shell in ASCII, whatever is in it."""
    if text.isascii():
        return shlex.quote(text)
    body = text.rstrip("\n")
    octal = "".join(
        chr(byte) if byte < 128 and chr(byte).isalnum() else f"\\{byte:03o}"
        for byte in body.encode()
    )
    # Line ends at the end stand outside: a command substitution drops them.
    return f"\"$(printf '{octal}'){text[len(body) :]}\""


def odd_names(names: Iterable[str]) -> list[str]:
    """Those that no shell can hold, such as `discovery.type`."""
    return [name for name in names if not SHELL_NAME.fullmatch(name)]
