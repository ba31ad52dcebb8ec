"""Text that is taken as it was written, also where it looks like a number or a truth."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, SecretStr, WithJsonSchema


@dataclass(frozen=True)
class AsWritten:
    """Marks a field for the reader of documents: `3.10` is this text, in YAML and in JSON."""


@dataclass(frozen=True)
class SizeText:
    """Marks a field for the reader of documents: it is a size in bytes."""


@dataclass(frozen=True)
class ReadAs:
    """Marks a mapping for the reader of documents: what stands in it is for these models."""

    models: tuple[type[BaseModel], ...]


def as_text(value: object) -> object:
    """A number or truth of Python as text; from a document it arrives as text already.

    Raises:
        ValueError: it has no one text.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must be a text or a finite number")
        return str(value)
    if value is None:
        raise ValueError('is empty; write "" for an empty text')
    return value


_SCHEMA = {"type": ["string", "number", "boolean"]}

WrittenText = Annotated[
    str, BeforeValidator(as_text), WithJsonSchema(_SCHEMA, mode="validation"), AsWritten()
]
WrittenSecret = Annotated[
    SecretStr,
    BeforeValidator(as_text),
    WithJsonSchema({**_SCHEMA, "format": "password", "writeOnly": True}, mode="validation"),
    AsWritten(),
]
