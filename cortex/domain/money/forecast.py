"""What a period will have cost at its end, as far as that can be told. All in USD."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from pydantic import BaseModel, ConfigDict

from cortex.domain.money.budgets import Period

_DAY: Final = Decimal(86400)
METHOD: Final = (
    "what was charged and what running jobs cost so far, and the larger of two: what running jobs "
    "will cost until their deadlines or the end of the period, and a usual day (the mean of the "
    "ended days since the first bill of this period, or of the last seven days) for the time left"
)


class Facts(BaseModel):
    """What is known now."""

    model_config = ConfigDict(frozen=True)

    now: datetime
    charged: Decimal = Decimal(0)
    """Bills of the period."""
    so_far: Decimal = Decimal(0)
    """Of running jobs."""
    ahead: Decimal = Decimal(0)
    """Of running jobs, until their deadlines or the end of the period."""
    ended_days_charged: Decimal = Decimal(0)
    first_day: datetime | None = None
    """Begin of the first of those days; none: nothing was charged on any."""


class Outlook(BaseModel):
    """A forecast with all that it is built on."""

    model_config = ConfigDict(frozen=True)

    charged: Decimal
    so_far: Decimal
    ahead: Decimal
    per_day: Decimal
    days: int
    """How many ended days that is the mean of."""
    usual: Decimal
    """A usual day for each day that is left."""

    @property
    def total(self) -> Decimal:
        return self.charged + self.so_far + max(self.ahead, self.usual)


def outlook(facts: Facts, period: Period) -> Outlook:
    """The forecast for the end of the period.

    What runs now is a part of what a usual day costs: the two are not added up.
    """
    today = facts.now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = (today - facts.first_day) // timedelta(days=1) if facts.first_day else 0
    per_day = facts.ended_days_charged / days if days else Decimal(0)
    left = max(period.end - facts.now, timedelta(0))
    seconds = Decimal(left // timedelta(microseconds=1)) / 1_000_000
    return Outlook(
        charged=facts.charged,
        so_far=facts.so_far,
        ahead=facts.ahead,
        per_day=per_day,
        days=days,
        usual=per_day * seconds / _DAY,
    )
