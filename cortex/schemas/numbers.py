"""Numbers as JSON Schema has them."""

from typing import Annotated

from pydantic import BeforeValidator


def _whole(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("must be a whole number")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A number without a fraction: `3`, `3.0`; no text and no truth value."""
