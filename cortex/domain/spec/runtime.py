"""How long a job may run and how often it is started anew: parts of the job spec."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cortex.domain.quantities import Duration

_Wait = Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Retries(_Model):
    """How often a job is started anew. The text form `retries: 2` sets `on_failure`."""

    on_failure: int = Field(default=0, ge=0, le=100, description="The command exited non-zero.")
    on_lost: int = Field(default=3, ge=0, le=100, description="The network lost the lease.")
    backoff: _Wait = Field(
        default=timedelta(seconds=2), description="Before the first new start; then twice as long."
    )
    max_backoff: _Wait = Field(default=timedelta(minutes=10), description="The longest wait.")

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        # JSON Schema's integers include 2.0, which a body gives as a Decimal; what is no whole
        # number is refused by the field.
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return {"on_failure": value}
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_backoff < self.backoff:
            raise ValueError("`max_backoff` must not be less than `backoff`")
        return self


class AutoExtend(_Model):
    """More time without being asked, while budgets and limits allow it."""

    by: Annotated[Duration, Field(ge=timedelta(seconds=1))] = Field(
        description="How much longer each time."
    )
    up_to: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=90))] = Field(
        description="The longest whole duration, extensions included."
    )

    def step(self, whole: timedelta) -> timedelta:
        """What is to be added to a job of this length; nothing once it is long enough."""
        return max(min(self.by, self.up_to - whole), timedelta(0))
