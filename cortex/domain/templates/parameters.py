"""Parameters of a template: what they may be, and the values that are given for them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import SchemaError

from cortex.domain.errors import FieldError
from cortex.domain.money import format_amount
from cortex.domain.names import NO_NUL
from cortex.domain.written import AsWritten, WrittenText, as_text

Value = str | int | Decimal | bool
Type = Literal["string", "integer", "number", "boolean", "choice"]

PARAMETER_NAME: Final = "^[A-Za-z_][A-Za-z0-9_]{0,62}$"
LONGEST_VALUE: Final = 4096
LONGEST_PATTERN: Final = 200
LONGEST_MATCHED: Final = 1024
"""Of a value that is held against a pattern."""
LARGEST: Final = 2**53
_DIGITS: Final = 30
_NUMBER: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?", re.ASCII)
NUMBER: Final = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$"
INTEGER: Final = "^-?[0-9]{1,15}$"
_RULES: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"pattern", "min_length", "max_length"}),
    "integer": frozenset({"min", "max"}),
    "number": frozenset({"min", "max"}),
    "boolean": frozenset(),
    "choice": frozenset({"choices"}),
}


def _decimal(value: Any) -> Decimal:
    text = as_text(value)
    if not isinstance(text, str) or isinstance(value, bool) or not _NUMBER.fullmatch(text):
        raise ValueError("must be a number")
    number = Decimal(text)
    if len(number.as_tuple().digits) > _DIGITS or abs(number) > LARGEST:
        raise ValueError(f"must be between -2^53 and 2^53, with {_DIGITS} digits at most")
    return number


_TEXT: Final = {"type": "string", "pattern": NO_NUL, "maxLength": LONGEST_VALUE}
_BOUND: Final = {
    "anyOf": [
        {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
        {"type": "string", "pattern": NUMBER},
    ]
}
Bound = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    PlainSerializer(format_amount, return_type=str, when_used="json"),
    WithJsonSchema(_BOUND, mode="validation"),
    AsWritten(),
]
Given = Annotated[WrittenText, StringConstraints(max_length=LONGEST_VALUE)]
"""A value as it is given: text, a number or a truth."""


class Parameter(BaseModel):
    """What may be given for a placeholder, and what stands there if nothing is.

    Attributes:
        required: Whether it must be given; by default if it has no default. One that need not be
            given and has none is left out of the spec.
        min: Of a number; so is `max`.
        pattern: A regular expression that matches the whole text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Type
    description: str = Field(default="", max_length=500, pattern=NO_NUL)
    default: Given | None = None
    required: bool | None = None
    min: Bound | None = None
    max: Bound | None = None
    min_length: int | None = Field(default=None, ge=0, le=LONGEST_VALUE)
    max_length: int | None = Field(default=None, ge=0, le=LONGEST_VALUE)
    pattern: str | None = Field(default=None, min_length=1, max_length=LONGEST_PATTERN)
    choices: tuple[Given, ...] | None = Field(default=None, min_length=1, max_length=200)

    @property
    def must_be_given(self) -> bool:
        return self.default is None and self.required is not False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = {name for rules in _RULES.values() for name in rules if self._has(name)}
        wrong = sorted(given - _RULES[self.type])
        if wrong:
            raise ValueError(f"`{wrong[0]}` is not for a parameter of type `{self.type}`")
        if self.type == "choice" and self.choices is None:
            raise ValueError("`choices` is required for a parameter of type `choice`")
        if self.choices is not None and len(set(self.choices)) < len(self.choices):
            raise ValueError("`choices` has the same value twice")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` is more than `max`")
        if None not in (self.min_length, self.max_length) and self.min_length > self.max_length:  # type: ignore[operator]
            raise ValueError("`min_length` is more than `max_length`")
        if self.pattern is not None:
            _check_pattern(self.pattern)
        if self.default is not None:
            if self.required:
                raise ValueError("has a `default`, so that it is never required: give one of both")
            try:
                self.value(self.default)
            except ValueError as error:
                raise ValueError(f"`default` {error}") from None
        return self

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    def value(self, given: str) -> Value:
        """What a text stands for.

        Raises:
            ValueError: it is not what the parameter takes.
        """
        if len(given) > LONGEST_VALUE:
            raise ValueError(f"is longer than {LONGEST_VALUE:,} characters")
        if "\0" in given:
            raise ValueError("contains a NUL character")
        if self.type == "boolean":
            if given not in ("true", "false"):
                raise ValueError("must be `true` or `false`")
            return given == "true"
        if self.type in ("integer", "number"):
            return self._number(given)
        if self.choices is not None and given not in self.choices:
            known = ", ".join(f"`{choice[:40]}`" for choice in self.choices[:20])
            raise ValueError(f"must be one of {known}")
        self._check_text(given)
        return given

    def _number(self, given: str) -> int | Decimal:
        number = _decimal(given)
        if self.type == "integer" and number != number.to_integral_value():
            raise ValueError("must be a whole number")
        if self.min is not None and number < self.min:
            raise ValueError(f"must be at least {format_amount(self.min)}")
        if self.max is not None and number > self.max:
            raise ValueError(f"must be at most {format_amount(self.max)}")
        return int(number) if self.type == "integer" else number

    def _check_text(self, given: str) -> None:
        if self.min_length is not None and len(given) < self.min_length:
            raise ValueError(f"must have at least {self.min_length} characters")
        if self.max_length is not None and len(given) > self.max_length:
            raise ValueError(f"must have at most {self.max_length} characters")
        if self.pattern is None:
            return
        if len(given) > LONGEST_MATCHED:
            raise ValueError(f"must have at most {LONGEST_MATCHED:,} characters")
        try:
            _matcher(self.pattern).validate_python(given)
        except ValidationError:
            raise ValueError(f"must match `{self.pattern}`") from None


def values_of(
    parameters: Mapping[str, Parameter], given: Mapping[str, str], place: str = "params"
) -> tuple[dict[str, Value], list[FieldError]]:
    """The value of each parameter, those left out that are optional; and what is wrong."""
    errors = [
        FieldError(field=f"{place}.{name[:63]}", message=_unknown(parameters))
        for name in given
        if name not in parameters
    ]
    values: dict[str, Value] = {}
    for name, parameter in parameters.items():
        text = given.get(name, parameter.default)
        if text is None:
            if parameter.must_be_given:
                errors.append(FieldError(field=f"{place}.{name}", message="is required"))
            continue
        try:
            values[name] = parameter.value(text)
        except ValueError as error:
            errors.append(FieldError(field=f"{place}.{name}", message=str(error)))
    return values, errors


def _unknown(parameters: Mapping[str, Parameter]) -> str:
    if not parameters:
        return "is no parameter: the template has none"
    known = ", ".join(f"`{name}`" for name in sorted(parameters)[:20])
    return f"is no parameter of the template; it has {known}"


def _check_pattern(pattern: str) -> None:
    try:
        _matcher(pattern)
    except SchemaError:
        raise ValueError("`pattern` is no regular expression, or a very large one") from None


@lru_cache(maxsize=200)
def _matcher(pattern: str) -> TypeAdapter[str]:
    # Of the Rust crate `regex`, whose time is linear in the text: Python's own may take for ever.
    whole = rf"^(?:{pattern})$"
    return TypeAdapter(Annotated[str, StringConstraints(pattern=whole)])
