"""Who is told what of a job or group: a part of both specs."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

ME: Final = "me"
"""Whoever submits it."""
_NAME: Final = "^[a-z][a-z0-9._-]{0,62}$"
_MOST: Final = 10


class JobNotice(StrEnum):
    """What one may be told of a job, or of all jobs of a group together."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STUCK = "stuck"
    """It does not get on, and is not ended."""
    RETRIED = "retried"
    """It is started anew after a failure or loss."""
    DEADLINE = "deadline"
    """It is ended soon, done or not."""
    OVER_BUDGET = "over_budget"
    """It has failed because it would cost more than it may."""


ENDS: Final = (JobNotice.COMPLETED, JobNotice.FAILED, JobNotice.CANCELLED)


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    """Here, and not by the lengths of the field: those would count what is wrong as missing."""
    if not 1 <= len(values) <= _MOST:
        raise ValueError(f"must have from 1 to {_MOST}")
    return tuple(dict.fromkeys(values))


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Person = Annotated[str, Field(pattern=_NAME)]
_ONE_OR_MORE: Final = BeforeValidator(_several)


class Notify(BaseModel):
    """Who is told, and of what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Annotated[
        tuple[JobNotice, ...],
        AfterValidator(_once),
        _ONE_OR_MORE,
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": [each.value for each in JobNotice]},
                    {
                        "type": "array",
                        "items": {"enum": [each.value for each in JobNotice]},
                        "minItems": 1,
                        "maxItems": _MOST,
                    },
                ]
            }
        ),
    ] = Field(
        default=ENDS,
        description="`started`, `completed`, `failed`, `cancelled`, `stuck`, `retried`, "
        "`deadline`, `over_budget`; by default every end.",
    )
    to: Annotated[
        tuple[Person, ...],
        AfterValidator(_once),
        _ONE_OR_MORE,
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "pattern": _NAME},
                    {
                        "type": "array",
                        "items": {"type": "string", "pattern": _NAME},
                        "minItems": 1,
                        "maxItems": _MOST,
                    },
                ]
            }
        ),
    ] = Field(
        default=(ME,),
        description="`me`, whoever submits it, and names of members of its project.",
    )
