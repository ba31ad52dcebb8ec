"""Deciding by hand about a step that does not end."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.leases import Lease
from cortex.domain.money import Money


class ResolveAction(StrEnum):
    """What is decided.

    `retry`: try the pending step now. `force_release`: wait for the network no longer and book
    what is known. `settle`: the same, and book the given amount.
    """

    RETRY = "retry"
    FORCE_RELEASE = "force_release"
    SETTLE = "settle"


class Resolution(BaseModel):
    """A decision as it is kept with the lease."""

    model_config = ConfigDict(frozen=True)

    action: ResolveAction
    amount: Money | None = None
    usd_rate: Decimal | None = Field(default=None, description="USD for one unit of the amount.")
    reason: str
    actor: str
    at: datetime

    @property
    def ends(self) -> bool:
        """Whether it ends the waiting for the network."""
        return self.action is not ResolveAction.RETRY

    def told(self) -> str:
        """For the ledger and for people: who and why."""
        return f"by hand, by `{self.actor}`: {self.reason}"


def resolution_of(lease: Lease) -> Resolution | None:
    """What was decided about a lease, if anything."""
    if lease.resolution is None:
        return None
    return Resolution.model_validate(lease.resolution)
