"""Text that is taken as it was written, also where it looks like a number or a truth."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    WithJsonSchema,
)

from cortex.domain.names import SECRET_NAME, check_secret_name


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


_SCHEMA: Final[dict[str, object]] = {"type": ["string", "number", "boolean"]}

WrittenText = Annotated[
    str, BeforeValidator(as_text), WithJsonSchema(_SCHEMA, mode="validation"), AsWritten()
]


class SecretReference(BaseModel):
    """A named secret of the job's project, in place of a value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: Annotated[str, AfterValidator(check_secret_name)] = Field(
        description="Name of the secret."
    )


_REFERENCE: Final = {
    "type": "object",
    "properties": {
        "secret": {
            "type": "string",
            "pattern": SECRET_NAME,
            "description": "Name of a secret of the project that the job goes to.",
        }
    },
    "required": ["secret"],
    "additionalProperties": False,
}
_WRITE_ONLY: Final = {"format": "password", "writeOnly": True}


def secret_schema(*values: Mapping[str, object]) -> dict[str, object]:
    """What a secret is: one of these values, which are written only, or a reference."""
    return {"anyOf": [*({**value, **_WRITE_ONLY} for value in values), _REFERENCE]}


def _form(value: object) -> str:
    return "[reference]" if isinstance(value, Mapping | SecretReference) else "[value]"


WrittenSecret = Annotated[
    Annotated[SecretStr, BeforeValidator(as_text), Tag("[value]")]
    | Annotated[SecretReference, Tag("[reference]")],
    Discriminator(_form),
    WithJsonSchema(secret_schema(_SCHEMA), mode="validation"),
    AsWritten(),
]
"""A secret, or the name of one that is kept in the project."""
