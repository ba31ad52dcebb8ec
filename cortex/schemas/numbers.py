"""Numbers as JSON Schema has them."""

from typing import Annotated, Final

from pydantic import BeforeValidator


def _whole(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("must be a whole number")
    return value


WHOLE: Final = BeforeValidator(_whole)
"""Behind the bounds: before them their names in the document would not be those of JSON Schema."""

Whole = Annotated[int, WHOLE]
"""A number without a fraction: `3`, `3.0`; no text and no truth value."""
