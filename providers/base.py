"""The contract between Cortex and a network: one abstract class, typed errors.

A provider gets a configuration and talks to one network. It never touches the database, keeps
nothing in memory that matters after a restart, and never blocks the event loop. Whether a class
keeps the contract is decided by `providers.conformance`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.metrics import Sample
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import Trial
from cortex.domain.spec import JobSpec
from providers.dropbox import DropBox
from providers.errors import InvalidSpec, Unavailable

TRIAL_IMAGE = "busybox:1.36"
"""Has a shell, `tar` and `wget`, and is small: what a trial runs where nothing else is said."""

Report = Callable[[str], Awaitable[None]]
"""Takes a sentence about progress (`pulling image, 40 %`); shown to the user."""


async def no_report(_message: str) -> None:
    """The report that goes nowhere."""


looked_at: ContextVar[Callable[[], bool]] = ContextVar("looked_at", default=lambda: True)
"""Whether somebody is looking at the log that `logs` follows in this context, asked at any time.

For networks where each look costs: they may read seldom while nobody does.
"""


class ProviderConfig(BaseModel):
    """What every provider's configuration has; each type adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True


class ComputePrices(BaseModel):
    """Prices that the owner of a machine sets for it, in `currency` per hour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: str = "USD"
    cpu_hour: Decimal = Field(default=Decimal("0.02"), ge=0)
    memory_gib_hour: Decimal = Field(default=Decimal("0.005"), ge=0)
    storage_gib_hour: Decimal = Field(default=Decimal(0), ge=0)
    gpu_hour: Decimal = Field(default=Decimal(0), ge=0)

    def sheet(self) -> PriceSheet:
        return PriceSheet(**self.model_dump())


class LogLine(BaseModel):
    """One line of a job's output.

    `cursor` is the provider's own mark of the place after this line: `logs(since=cursor)` goes on
    with the next one. What a line is, and how a very long one is cut, says `providers.lines`.

    `partial`: the line has begun and has not ended, and this is its text so far. Another line of
    the same stream follows and takes its place; `cursor` is the place before it. A provider gives
    such lines where its network shows them, and only while the job runs.
    """

    model_config = ConfigDict(frozen=True)

    time: datetime
    stream: Literal["stdout", "stderr"] = "stdout"
    text: str
    cursor: str
    partial: bool = False


class Reservation(BaseModel):
    """The result of phase one: what `commit` needs."""

    model_config = ConfigDict(frozen=True)

    ref: LeaseRef
    price_per_hour: Money | None = Field(
        default=None, description="Where the network names the price only now."
    )


class Committed(BaseModel):
    """The result of phase two. `snapshot` where the network answers with it anyway."""

    model_config = ConfigDict(frozen=True)

    ref: LeaseRef
    snapshot: LeaseSnapshot | None = None


class Found(BaseModel):
    """What the network holds under a key.

    `reserved` is false where phase one is not known to be complete, as when the network has taken
    the job and its price is still to be looked at: `prepare` is called once more and goes on.
    """

    model_config = ConfigDict(frozen=True)

    ref: LeaseRef
    committed: bool
    reserved: bool = True


class NetworkStatus(BaseModel):
    """How the network does, as `network_status()` sees it."""

    model_config = ConfigDict(frozen=True)

    reachable: bool
    latency: timedelta | None = None
    version: str = ""
    message: str = ""
    balance: Money | None = None
    capacity: dict[str, str] = Field(default_factory=dict)


ConfigT = TypeVar("ConfigT", bound=ProviderConfig)


class Provider(ABC, Generic[ConfigT]):
    """One configured connection to one network.

    Every method may raise `Unavailable`, `RateLimited` and `AuthenticationFailed`; what else it
    may raise is said with it. An outcome that is not known is `OutcomeUnknown`, never a guess.
    """

    type_name: ClassVar[str]
    """The name of the network: `docker`, `akash`."""
    Config: ClassVar[type[ProviderConfig]]
    drop: DropBox | None = None
    """Where jobs can leave results; set by the worker where one is configured."""

    def __init__(self, provider_id: str, config: ConfigT) -> None:
        self.id = provider_id
        self.config = config

    async def initialize(self) -> None:
        """Open the client and check the credentials once.

        Raises:
            AuthenticationFailed, Unavailable: the network cannot be used now. The worker goes on
                without it and tries again.
        """

    async def aclose(self) -> None:
        """Close the client. Leases go on running."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What can be run here; may be called after `initialize` only."""

    def trial(self) -> Trial:
        """The smallest job that shows that the network works (`cortex provider verify`).

        By default a plain process, or `busybox` where the network runs images only. A network that
        needs another image, or more than the least resources, says so; may be called after
        `initialize` only.
        """
        can = self.capabilities()
        if not can.images and not can.processes:
            return Trial(no_run="it renders scenes only, and runs no commands")
        if not can.batch:
            return Trial(no_run="it runs services only, and a trial is a batch job")
        return Trial(image=None if can.processes else TRIAL_IMAGE)

    @abstractmethod
    async def pricing(self) -> PriceSheet:
        """The price sheet in force."""

    @abstractmethod
    async def quote(self, spec: JobSpec) -> list[Offer]:
        """Offers for this job, cheapest first; none if it cannot run here."""

    @abstractmethod
    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        """Phase one: reserve under the lease key. Nothing runs yet and little or nothing is paid.

        Idempotent on `key`: a second call finds what the first one made, also after a restart.
        `spec` carries the secrets in clear.

        Raises:
            InvalidSpec, NoCapacity, InsufficientFunds: nothing is left behind.
            OutcomeUnknown: something may be left behind; `find(key)` tells.
        """

    async def put_inputs(self, reservation: Reservation, archive: Path) -> None:
        """Hand over the files that the job begins with: a tar, relative to its workdir.

        Called between `prepare` and `commit` where `capabilities().inputs`, for jobs with `inputs`.
        Idempotent: a second call, with the same files, may come after any outcome of the first.

        Raises:
            LeaseLost: the reservation is gone.
            InvalidSpec: the files are too many for this job.
            NoCapacity: there is no room for them now.
        """
        raise InvalidSpec(f"`{self.id}` takes no files (`inputs`) for a job")

    @abstractmethod
    async def commit(self, reservation: Reservation) -> Committed:
        """Phase two: start it. Idempotent: what runs or has ended already is returned.

        Raises:
            NoCapacity: the reservation could not be turned into a lease.
            LeaseLost: the reservation is gone.
            OutcomeUnknown: `find` and `status` tell.
        """

    async def submit(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Committed:
        """Both phases in one, for callers that need no two, and jobs without `inputs`."""
        return await self.commit(await self.prepare(spec, key, offer=offer, report=report))

    @abstractmethod
    async def find(self, key: str) -> Found | None:
        """What the network holds under this key; None only if it definitely holds nothing."""

    @abstractmethod
    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        """Snapshots of these leases in as few calls as the network allows.

        A lease that the network definitely no longer has is `RunState.LOST`. A lease of which
        nothing can be said now is left out of the answer.
        """

    async def status(self, ref: LeaseRef) -> LeaseSnapshot:
        """One snapshot.

        Raises:
            Unavailable: nothing can be said about it now.
        """
        snapshots = await self.statuses([ref])
        if not snapshots:
            raise Unavailable(f"nothing is known about lease `{ref.key}` now")
        return snapshots[0]

    async def stop(self, ref: LeaseRef) -> None:
        """Ask the command to end, so that its results can be collected before `cancel`.

        Called where `capabilities().keeps_results` is false: there `cancel` takes logs and files
        with it. Returns when the command has ended, or after half a minute at most; best effort,
        nothing is raised for a job that is gone. By default it does nothing.
        """

    @abstractmethod
    async def cancel(self, ref: LeaseRef) -> None:
        """End the run and its costs; returns only when the network confirms it.

        Succeeds if it has ended or is gone already. Afterwards `usage(ref).final` is true. What
        costs nothing (logs, files, a stopped container) may stay until `forget`; where it does
        not, `capabilities().keeps_results` is false.
        """

    async def forget(self, ref: LeaseRef) -> None:
        """Remove what `cancel` left: called once everything is collected and booked.

        Idempotent. Afterwards `find` and `owned` know the key no more, unless the network keeps
        its records for ever; then `owned` leaves out what has ended.
        """

    @abstractmethod
    async def usage(self, ref: LeaseRef) -> Usage:
        """What the lease has cost so far and whether that is final. Zero if it never started.

        Raises:
            LeaseLost: the network knows nothing of it any more (after `forget`).
        """

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        """What these leases take of their machines now, in as few calls as the network allows.

        Called where `capabilities().metrics` names something, some hundred leases at a time. A
        lease that does not run (any more), or of which nothing can be said now, is left out. No
        figure is made up: what the network does not tell stays None. By default nothing is told.
        """
        return []

    @abstractmethod
    def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """Log lines after the cursor `since`, in order. With `follow`, until the job has ended.

        Ends silently when there is nothing more, also for a lease that is gone.
        """

    @abstractmethod
    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        """Copy the declared result files and folders out, below `destination`.

        `paths` may be patterns (`cortex.domain.patterns`). A link is followed inside of the job's
        working folder, never out of it. One bad file costs no other.

        Returns:
            The files written, relative to `destination`; as `Collected`, with what else is known:
            raw names, empty folders, and what is left out and why. A plain list says nothing of
            these.
        """

    @abstractmethod
    async def owned(self) -> list[LeaseRef]:
        """Every lease of this account that carries a Cortex key, ended ones included until
        they are forgotten. Raises rather than answering with a part.
        """

    @abstractmethod
    async def network_status(self) -> NetworkStatus:
        """Reachability, latency, version, balance. Does not raise: unreachable is an answer."""

    async def tend(self, refs: Sequence[LeaseRef]) -> None:
        """Housekeeping that the network demands of active leases; nothing by default."""

    async def wait_for_change(self, timeout: timedelta) -> None:
        """Return when a lease may have changed, or after `timeout`.

        Networks that push override this; by default it waits for the timeout (polling).
        """
        await asyncio.sleep(timeout.total_seconds())
