"""What the routes about settings take and answer."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from cortex.domain.names import ONE_LINE, one_line
from cortex.domain.runtime_settings import NAMES, Scalar, SettingsVersion
from cortex.schemas._view import View
from cortex.schemas.numbers import Whole

_LONGEST = 200
_LONGEST_VALUE = 100
Comment = Annotated[
    str,
    Field(max_length=_LONGEST),
    AfterValidator(one_line),
    WithJsonSchema({"type": "string", "pattern": ONE_LINE, "maxLength": _LONGEST}),
]


def _scalar(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is not None and not isinstance(value, bool | int | str):
        raise ValueError("must be true, false, a whole number, text, or null")
    if isinstance(value, str) and not 1 <= len(value) <= _LONGEST_VALUE:
        raise ValueError(f"must have 1 to {_LONGEST_VALUE} characters")
    return value


NewValue = Annotated[Any, BeforeValidator(_scalar)]


class SettingView(View):
    """One setting that can be changed while Cortex runs."""

    name: str
    value: Scalar = Field(description="What holds.")
    origin: str = Field(description="`runtime`: it was set here; `start`: by file or environment.")
    at_start: Scalar = Field(description="What holds when nothing is set here.")
    description: str


class SettingsView(View):
    """The settings that can be changed while Cortex runs, by name."""

    version: int = Field(description="Counts the changes.")
    items: tuple[SettingView, ...]


class SettingsUpdate(BaseModel):
    """What is set, by names; null takes back what was set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: Annotated[
        dict[str, NewValue],
        WithJsonSchema(
            {
                "type": "object",
                "propertyNames": {"enum": list(NAMES)},
                "additionalProperties": {
                    "anyOf": [
                        {"type": "boolean"},
                        {"type": "integer"},
                        {"type": "string", "minLength": 1, "maxLength": _LONGEST_VALUE},
                        {"type": "null"},
                    ]
                },
                "minProperties": 1,
            }
        ),
    ] = Field(
        min_length=1,
        max_length=len(NAMES),
        examples=[{"api.requests_per_minute": 600, "jobs.accept": None}],
    )
    comment: Comment | None = Field(default=None, description="Why; kept in the history.")


class SettingsRollback(BaseModel):
    """Back to what was set at an earlier version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Whole = Field(ge=0, le=2**31 - 1, description="0: nothing is set.")
    comment: Comment | None = None


class SettingsHistory(View):
    """Versions, the newest first."""

    items: tuple[SettingsVersion, ...]
    next_before: int | None = Field(default=None, description="`before` of the next page.")
