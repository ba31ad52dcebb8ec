"""What an adapter says of itself, what its network holds now, and which calls it made lately."""

from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.quantities import Duration
from cortex.domain.spec import Resources
from cortex.domain.states import LeaseState, RunState


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


SMALLEST = Resources(cpu=Decimal("0.5"), memory=256 * 2**20, storage=2**29)
"""What the smallest useful job asks for: two lines of output and a small file need no more."""


class Trial(_Model):
    """The smallest job that shows whether a network works: `cortex provider verify` runs it."""

    image: str | None = Field(default=None, description="The image; none: a plain process.")
    resources: Resources = SMALLEST
    duration: Duration = Field(
        default=timedelta(minutes=10), description="The most that one run may take."
    )
    stop_within: Duration = Field(
        default=timedelta(minutes=3),
        description="How long the end of a running job may take, from the wish to the bill.",
    )
    paid: bool = Field(
        default=True, description="False: on a machine of the user's own, nobody is paid."
    )
    no_run: str = Field(
        default="", description="Why no command can be run here at all; empty: it can."
    )
    no_image: str = Field(
        default="", description="Why an image has to be named, and which; empty: it need not."
    )
    no_outputs: str = Field(
        default="", description="Why no result file can be had, and what to do; empty: it can."
    )


class Adapter(_Model):
    """The code that speaks to a network."""

    type: str
    name: str = Field(default="", description="Of its class, with the module.")
    package: str = Field(default="", description="The installed package that it comes from.")
    version: str = Field(default="", description="Of that package.")


class CallTally(_Model):
    """Calls of one kind: what they were, how they ended, how long they took. No bodies."""

    step: str = Field(description="The method of the provider contract, such as `commit`.")
    keys: tuple[str, ...] = Field(
        default=(), description="The leases it was about; empty: none, or more than a few."
    )
    call: str = Field(
        default="", description="Such as `Akash GET /v1/deployments/*`; empty: the step as a whole."
    )
    outcome: str = Field(description="A status, the class of an error, or `ok`.")
    odd: bool = Field(default=False, description="Not how it usually ends.")
    note: str = Field(default="", description="What was said about the last of them.")
    count: int = 1
    first_at: datetime
    last_at: datetime
    mean_ms: int = 0
    longest_ms: int = 0


class HeldLease(_Model):
    """Something that the network holds under a key of Cortex."""

    key: str
    run_state: RunState | None = Field(
        default=None, description="As the network says; none: it says nothing of it now."
    )
    message: str = ""
    lease_state: LeaseState | None = Field(
        default=None, description="As Cortex has it; none: this Cortex has never leased it."
    )


class Inspection(_Model):
    """A provider, looked at now by one worker."""

    provider_id: str
    adapter: Adapter
    trial: Trial
    worker: str = Field(description="The process that looked; the calls are its own.")
    recording_since: datetime = Field(description="From when on its calls are kept.")
    leases: tuple[HeldLease, ...] = ()
    more_leases: int = Field(default=0, description="Held leases that are not named here.")
    calls: tuple[CallTally, ...] = Field(default=(), description="The newest kinds last.")
