"""Messages of pydantic in our words, for what people get wrong."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from cortex.domain.errors import field_errors
from cortex.domain.quantities import Duration


class Small(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = 0
    price: Decimal = Decimal(1)
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    on: bool = False
    name: Annotated[str, Field(min_length=2, max_length=5, pattern="^[a-z]+$")] = "ab"
    words: Annotated[tuple[str, ...], Field(max_length=2)] = ()
    labels: dict[str, int] = Field(default_factory=dict)
    kind: Literal["batch", "service"] = "batch"
    at: AwareDatetime | None = None
    span: Annotated[Duration, Field(le=timedelta(days=30))] = timedelta(0)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("count", "x", "must be a whole number"),
        ("count", 1.5, "must be a whole number"),
        ("count", [], "must be a whole number"),
        ("price", "x", "must be a number"),
        ("share", "nan", "must be a number"),
        ("share", 1, "must be less than 1"),
        ("on", "maybe", "must be `true` or `false`"),
        ("name", 5, "must be text"),
        ("name", "a", "must have at least 2 characters"),
        ("name", "abcdef", "must have at most 5 characters"),
        ("name", "A1", "must match `^[a-z]+$`"),
        ("words", ["a", "b", "c"], "must have at most 2 entries, and has 3"),
        ("words", "a", "must be a list"),
        ("labels", [1], "must be a mapping of names to values"),
        ("kind", "x", "must be 'batch' or 'service'"),
        ("at", "yesterday", "must be a time such as `2026-01-31T12:00:00Z`"),
        ("at", datetime(2026, 1, 1), "must be a time such as `2026-01-31T12:00:00Z`"),  # noqa: DTZ001
        ("span", 9e9, "must be less than or equal to 30d"),
        ("span", "soon", "`soon` is no duration; write `90s`, `10m`, `1h30m` or `2d`"),
        ("other", 1, "is not a known field"),
    ],
)
def test_what_to_do_is_said(field: str, value: Any, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Small.model_validate({field: value})
    (error,) = field_errors(caught.value)
    assert (error.field, error.message) == (field, told)
