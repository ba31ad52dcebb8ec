"""Where a job may run, and how offers are ranked."""

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from cortex.domain.money import Money, format_amount, printable
from cortex.domain.quantities import Duration
from cortex.domain.spec.parts import Part, ShortText, positive_money


class Strategy(StrEnum):
    """The strategies that are always there; plugins add others by their own names."""

    COST = "cost"
    PERFORMANCE = "performance"
    AVAILABILITY = "availability"


StrategyName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[a-z0-9][a-z0-9._-]{0,62}$",
            "examples": [strategy.value for strategy in Strategy],
        }
    ),
]
_Weight = Annotated[
    Decimal,
    Field(ge=0, le=1000),
    AfterValidator(printable),
    PlainSerializer(format_amount, return_type=str, when_used="json"),
]


class Weights(Part):
    """How much each side of an offer counts when offers are ranked."""

    cost: _Weight = Decimal(0)
    performance: _Weight = Decimal(0)
    availability: _Weight = Decimal(0)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.total():
            raise ValueError("must give at least one of cost, performance, availability a weight")
        return self

    def total(self) -> Decimal:
        return self.cost + self.performance + self.availability


class Placement(Part):
    providers: tuple[ShortText, ...] = Field(default=(), description="Allowed ids; empty: all.")
    strategy: StrategyName = Field(
        default=Strategy.COST.value,
        description="How offers are ranked: cost, performance, availability, or a plugin's.",
    )
    weights: Weights | None = Field(
        default=None, description="In place of the weights that the strategy has by itself."
    )
    max_price: Money | None = Field(default=None, description="Most per hour.")
    regions: tuple[ShortText, ...] = ()
    failover: bool = Field(default=True, description="Try the next offer when one falls through.")
    timeout: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=7))] = Field(
        default=timedelta(minutes=10), description="How long to look for capacity."
    )

    @field_validator("max_price")
    @classmethod
    def _positive(cls, value: Money | None) -> Money | None:
        return positive_money(value)
