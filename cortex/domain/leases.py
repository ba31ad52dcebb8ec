"""A lease as Cortex records it and as its network reports it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.rendering.frames import FrameStatus
from cortex.domain.states import LeaseState, RunState

PullTrouble = Literal["", "missing", "unpullable"]
"""Why a lease's image could not be pulled: its registry has none such or refuses it (`missing`), or
something came between (`unpullable`). Empty: nothing is the matter with it.
"""
PULL_FAILURES: Final[dict[PullTrouble, str]] = {"missing": "no_image", "unpullable": "no_pull"}
"""How it stands in the column `failure` of a lease."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class LeaseRef(_Model):
    """How a provider finds a lease again.

    `network_id` and `data` are the provider's own; they are stored with the lease and must
    suffice, together with the key, after every process has been restarted.
    """

    key: str
    network_id: str
    data: dict[str, str] = Field(default_factory=dict)


class Endpoint(_Model):
    """Where a port of a running job can be reached."""

    port: int
    url: str


class LeaseSnapshot(_Model):
    """What a network says about one lease at one moment."""

    key: str
    state: RunState
    exit_code: int | None = None
    progress: Decimal | None = Field(default=None, description="From 0 to 1.")
    endpoints: tuple[Endpoint, ...] = ()
    message: str = ""
    unfit: bool = Field(
        default=False,
        description="Lost for a reason of the job's own, such as an image that cannot be pulled: "
        "it is not held against the network.",
    )
    image: PullTrouble = Field(
        default="", description="Lost because its image could not be pulled, and why."
    )
    started_at: datetime | None = None
    finished_at: datetime | None = None
    frames: tuple[FrameStatus, ...] = Field(
        default=(), description="Of a render job: its frames, as far as something is known of them."
    )


class SettleStep(_Model):
    """One call of a settlement at the network, over all its tries: for the explorer."""

    step: str
    started_at: datetime
    ended_at: datetime | None = None
    tries: int = 1
    error: str = Field(default="", description="Of the last try; empty: it succeeded.")


class Lease(_Model):
    """One attempt to run a job at one provider, as the database knows it."""

    key: str
    job_id: str
    attempt: int
    provider_id: str
    state: LeaseState
    offer: Offer
    ref: LeaseRef | None = None
    run_state: RunState | None = None
    exit_code: int | None = None
    message: str = ""
    image: PullTrouble = ""
    endpoints: tuple[Endpoint, ...] = ()
    version: int = 0
    signalled_version: int = 0
    log_cursor: str | None = None
    created_at: datetime
    committed_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reserved_at: datetime | None = None
    releasing_at: datetime | None = None
    collected_at: datetime | None = None
    released_at: datetime | None = None
    cost: Money | None = Field(default=None, description="The booked charge, once settled.")
    unknown_since: datetime | None = None
    unknown_reason: str = ""
    usage: Money | None = Field(default=None, description="Cost so far, while it runs.")
    usage_at: datetime | None = None
    resolution: dict[str, Any] | None = Field(default=None, description="See `Resolution`.")
    settle_steps: tuple[SettleStep, ...] = ()

    def reckoned(self, now: datetime) -> Money:
        """What it must have cost until now, or its end: its price times its time."""
        began = self.started_at or self.committed_at
        lasted = (self.finished_at or now) - began if began else timedelta(0)
        return self.offer.estimate(max(lasted, timedelta(0)))

    @property
    def settling(self) -> bool:
        """Whether it is being released and its bill is not booked: its settlement may write."""
        return self.state is LeaseState.RELEASING and self.cost is None
