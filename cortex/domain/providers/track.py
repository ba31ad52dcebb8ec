"""What Cortex itself has measured of a provider: its health, its leases, its starts."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.units import format_duration

_PRIOR: Final = 5
"""The network's own claim counts as much as so many leases: one bad lease proves little."""

_ENOUGH: Final = 3
"""So many starts must have been seen before they count more than what the network expects."""


class TrackRecord(BaseModel):
    """What was seen of one provider within the last `window`."""

    model_config = ConfigDict(frozen=True)

    window: timedelta = timedelta(days=7)
    online: Decimal | None = Field(
        default=None, description="Share of the time it was healthy, `degraded` counted half."
    )
    leases: int = Field(default=0, description="Leases that came to an end here.")
    lost: int = Field(default=0, description="Those that the network lost.")
    refused: int = Field(default=0, description="Those that the network could not begin.")
    starts: int = Field(default=0, description="Leases of which the start was seen.")
    start: timedelta | None = Field(default=None, description="From order to start; the median.")

    def availability(self, claimed: Decimal) -> Decimal:
        """From 0 to 1: kept leases, with the network's claim as a few more, times health."""
        claim = min(max(claimed, Decimal(0)), Decimal(1))
        kept = self.leases - self.lost - self.refused
        share = (claim * _PRIOR + kept) / (_PRIOR + self.leases)
        return share if self.online is None else share * self.online

    def availability_source(self) -> str:
        """Where that number comes from, for people."""
        parts: list[str] = []
        if self.online is not None:
            parts.append(f"healthy {_percent(self.online)} of the time")
        if self.leases:
            parts.append(f"{self.lost + self.refused} of {_leases(self.leases)} lost or refused")
        if not parts:
            return "what the network claims; nothing is measured yet"
        return f"{', '.join(parts)} (last {format_duration(self.window)})"

    def wait(self, expected: timedelta) -> timedelta:
        """How long a job waits here before it runs."""
        return expected if self.start is None or self.starts < _ENOUGH else self.start

    def wait_source(self) -> str:
        """Where that number comes from, for people."""
        if self.start is None or self.starts < _ENOUGH:
            return "what the network expects"
        return f"median of {self.starts} starts"


def _leases(count: int) -> str:
    return f"{count} lease" if count == 1 else f"{count} leases"


def _percent(share: Decimal) -> str:
    """Two digits at most, and never a round 100 % that it is not."""
    text = f"{share * 100:.2f}".rstrip("0").rstrip(".")
    return "under 100%" if text == "100" and share < 1 else f"{text}%"
