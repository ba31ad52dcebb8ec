"""What Linux hands to a program: https://man7.org/linux/man-pages/man2/execve.2.html."""

from typing import Final

from cortex.domain.errors import FieldError
from cortex.domain.spec import JobSpec

MAX_ARG_STRLEN: Final = 131_072
"""Bytes of one word or one `NAME=value`, the NUL character at its end included."""


def word_errors(spec: JobSpec) -> list[FieldError]:
    """Words and variables that no program can be given.

    Not part of the spec's own form: what was stored before is still read.
    """
    errors: list[FieldError] = []
    for name, words in (("command", spec.command), ("args", spec.args)):
        errors += [
            _too_long(f"{name}[{number}]", size, "a word")
            for number, word in enumerate(words)
            if (size := len(word.encode()) + 1) > MAX_ARG_STRLEN
        ]
    for field, variables in (("env", spec.env), ("secret_env", spec.secrets())):
        errors += [
            _too_long(f"{field}.{name}", size, "a variable with its name")
            for name, text in variables.items()
            if (size := len(name) + len(text.encode()) + 2) > MAX_ARG_STRLEN
        ]
    return errors


def _too_long(field: str, size: int, what: str) -> FieldError:
    return FieldError(
        field=field,
        message=f"is {size:,} bytes with its end, and the kernel takes {what} of at most "
        f"{MAX_ARG_STRLEN:,} (MAX_ARG_STRLEN); pass large data as a file",
    )
