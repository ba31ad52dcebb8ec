"""The `golem` provider: one agreement per lease, through the REST API of a yagna daemon.

The daemon keeps all that must survive a restart: the agreement carries the lease's key, the id of
its allocation and the sealed job; the reason of its termination carries the exit code.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

from cortex.domain.conditions import Conditions
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.metrics import Sample
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import Trial
from cortex.domain.spec import JobSpec
from providers.base import (
    TRIAL_IMAGE,
    Committed,
    Found,
    LogLine,
    NetworkStatus,
    Provider,
    ProviderConfig,
    Report,
    Reservation,
    no_report,
)
from providers.collected import Collected
from providers.errors import LeaseLost, NoCapacity, OutcomeUnknown, ProviderError, Unavailable
from providers.golem.activities import Activities
from providers.golem.agreements import Agreements, expired, hourly_price, ref_of
from providers.golem.allocations import Allocations
from providers.golem.collect import Collector
from providers.golem.conditions import conditions
from providers.golem.config import GolemConfig
from providers.golem.daemon import Daemon
from providers.golem.glance import Viewer
from providers.golem.health import look
from providers.golem.images import Images
from providers.golem.launch import Launcher, fresh
from providers.golem.locks import alone
from providers.golem.metrics import Metrics
from providers.golem.negotiate import Negotiator
from providers.golem.offers import Market
from providers.golem.payments import Payments
from providers.golem.release import Releaser
from providers.golem.reserve import Reserver
from providers.golem.snapshots import Snapshots
from providers.golem.wire import Identity

T = TypeVar("T")
_AT_ONCE = 8
_EXCLUDED = timedelta(hours=1)
_LONGEST = timedelta(days=30)
_NO_IMAGE = (
    "Golem runs images of its own kind only, and none is configured: name one as "
    "`<user>/<repository>:<tag>` of its registry, or map one in `images` of this provider; it "
    "needs `/bin/sh` and a `VOLUME` at `work_dir`"
)


class GolemProvider(Provider[GolemConfig]):
    """Virtual machines of Golem Network, bought through one daemon."""

    type_name: ClassVar[str] = "golem"
    Config: ClassVar[type[ProviderConfig]] = GolemConfig

    def __init__(self, provider_id: str, config: GolemConfig) -> None:
        super().__init__(provider_id, config)
        account = f"{config.namespace}/{provider_id}"
        self._daemon = Daemon(config)
        self._market = Market(self._daemon, config)
        self._images = Images(config)
        self._agreements = Agreements(self._daemon, config, account)
        self._activities = Activities(self._daemon, config)
        self._allocations = Allocations(self._daemon, config)
        self._payments = Payments(
            self._daemon, self._agreements, self._activities, self._allocations, config
        )
        viewer = Viewer(self._activities, config)
        self._snapshots = Snapshots(config, self._agreements, self._activities, viewer)
        self._collector = Collector(
            config, self._agreements, self._activities, viewer, lambda: self.drop
        )
        self._metrics = Metrics(self._agreements, self._activities)
        self._launcher = Launcher(config, self._agreements, self._activities)
        negotiator = Negotiator(self._daemon, self._agreements, config)
        self._reserver = Reserver(
            config, account, self._agreements, self._allocations, negotiator, self._images,
            self._market, self._avoided,
        )  # fmt: skip
        self._releaser = Releaser(
            self._agreements, self._activities, self._payments, self._snapshots
        )
        self._conditions = Conditions()
        self._failed: dict[str, float] = {}

    async def initialize(self) -> None:
        await self._daemon.open()
        await self._daemon.get(Identity, "/me")
        await self._images.look()
        self._conditions = conditions(self.config, self._images)

    async def aclose(self) -> None:
        await self._daemon.close()

    def capabilities(self) -> Capabilities:
        """What the `vm` runtime can do: no way in from outside, and nothing is left after it."""
        return Capabilities(
            images=True,
            processes=False,
            ports=False,
            volumes=False,
            gpu_models=self.config.gpu_models,
            max_duration=_LONGEST,
            poll_interval=self.config.poll_interval,
            two_phase=True,
            keeps_results=False,
            metrics=("cpu",),
            conditions=self._conditions,
        )

    def trial(self) -> Trial:
        """With an image of this configuration: Golem's market has none that everybody may use."""
        image = next(iter(self.config.images), None)
        if image is None and self.config.gvmkit_build and self.config.push_to:
            image = TRIAL_IMAGE
        return Trial(image=image, no_image="" if image else _NO_IMAGE)

    async def pricing(self) -> PriceSheet:
        return await self._market.sheet()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        """The cheapest providers of the last scan that fit; none where the image cannot be had."""
        if self.capabilities().objections(spec):
            return []
        return await self._market.offers(self.id, spec)

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        """Negotiate and confirm an agreement under the key. Nothing runs, nothing is charged.

        A provider breaks an agreement in which nothing is started within 90 s.
        """
        async with alone(self.config.url, key):
            agreement = await self._reserver.reserve(spec, key, offer, report)
        price = Money(amount=hourly_price(agreement), currency=self.config.currency).rounded()
        return Reservation(ref=ref_of(agreement), price_per_hour=price)

    async def commit(self, reservation: Reservation) -> Committed:
        """Create the activity and hand over its one batch; never a second time."""
        ref = reservation.ref
        async with alone(self.config.url, ref.key):
            agreement = await self._agreements.get(ref.network_id)
            if agreement is None:
                raise LeaseLost(f"the agreement of lease `{ref.key}` is gone")
            if agreement.state == "Pending":
                raise OutcomeUnknown(f"the agreement of lease `{ref.key}` is not approved yet")
            if agreement.state != "Approved":
                if not await self._activities.of(agreement.agreement_id):
                    raise LeaseLost(f"the agreement of lease `{ref.key}` has ended")
                return Committed(ref=ref_of(agreement))
            try:
                await self._launcher.launch(agreement, ref.key)
            except (NoCapacity, LeaseLost):
                self._failed[agreement.offer.provider_id] = time.monotonic()
                raise
        return Committed(ref=ref_of(agreement))

    async def find(self, key: str) -> Found | None:
        """By the session id of the agreement. Committed means that its batch was begun."""
        agreement = await self._agreements.under(key)
        if agreement is None:
            return None
        there = await self._activities.of(agreement.agreement_id)
        begun = False
        for activity_id in there:
            state = await self._activities.state(activity_id)
            begun = begun or (state is not None and not fresh(state))
        return Found(ref=ref_of(agreement), committed=begun)

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        """One by one, some at a time: the daemon has no call for many."""
        snapshots: list[LeaseSnapshot] = []

        async def one(ref: LeaseRef) -> None:
            with suppress(Unavailable):
                snapshots.append(await self._snapshots.of(ref))

        await _some_at_a_time(refs, one)
        return snapshots

    async def stop(self, ref: LeaseRef) -> None:
        await self._collector.stop(ref)

    async def cancel(self, ref: LeaseRef) -> None:
        """Destroy, terminate, settle the invoice, give the rest of the money back.

        Raises:
            Unavailable: the provider is not reached, or its invoice has not come yet.
        """
        async with alone(self.config.url, ref.key):
            await self._releaser.release(ref)

    async def forget(self, ref: LeaseRef) -> None:
        """Nothing to do: the daemon keeps its records, and nothing else is left."""

    async def usage(self, ref: LeaseRef) -> Usage:
        """Final once the invoice is answered; else the larger of the bills and our reckoning."""
        agreement = await self._agreements.get(ref.network_id)
        if agreement is None:
            raise LeaseLost(f"the yagna daemon knows no agreement of lease `{ref.key}`")
        bills = await self._payments.bills(agreement)
        ours, seconds = await self._payments.reckon(agreement)
        over = agreement.state not in ("Approved", "Pending") or expired(agreement)
        final = over and await self._payments.settled(agreement)
        paid = bills.paid_invoice
        if final:
            amount = paid.amount if paid is not None else bills.accepted
        else:
            amount = max(ours, bills.billed)
        return Usage(
            cost=Money(amount=amount, currency=self.config.currency),
            final=final,
            seconds=seconds,
            detail={
                "agreement": agreement.agreement_id,
                "provider": agreement.offer.provider_id,
                "source": "invoice" if final and paid is not None else "usage",
                "accepted": f"{bills.accepted:f}",
            },
        )

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        """One by one, some at a time. A provider that cannot be asked now keeps none from it."""
        samples: list[Sample] = []
        problems: list[ProviderError] = []

        async def one(ref: LeaseRef) -> None:
            try:
                sample = await self._metrics.of(ref)
            except ProviderError as error:
                problems.append(error)
            else:
                samples.extend([sample] if sample is not None else [])

        await _some_at_a_time(refs, one)
        if problems and not samples:
            raise problems[0]
        return samples

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        async for line in self._collector.logs(ref, since, follow):
            yield line

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        """Copy results out while the lease lives.

        Raises:
            InvalidSpec: the files are larger than `max_output_bytes`.
        """
        return await self._collector.outputs(ref, paths, destination)

    async def owned(self) -> list[LeaseRef]:
        """Agreements that are live; ended ones cost nothing and are left out."""
        return await self._agreements.owned()

    async def network_status(self) -> NetworkStatus:
        return await look(self._daemon, self._allocations, self.config)

    async def tend(self, refs: Sequence[LeaseRef]) -> None:
        """Answer debit notes in time; end a lease that asks too much or has no money left."""
        problems: list[ProviderError] = []

        async def one(ref: LeaseRef) -> None:
            try:
                await self._tend(ref)
            except ProviderError as error:
                problems.append(error)

        await _some_at_a_time(refs, one)
        if problems:
            raise problems[0]

    async def _tend(self, ref: LeaseRef) -> None:
        async with alone(self.config.url, ref.key):
            agreement = await self._agreements.get(ref.network_id)
            if agreement is None or agreement.state != "Approved":
                return
            wrong = await self._payments.tend(agreement)
            if wrong is not None:
                await self._releaser.break_off(ref, agreement, wrong)

    def _avoided(self) -> frozenset[str]:
        """Providers that failed within the last hour. A hint only: lost with the process."""
        limit = time.monotonic() - _EXCLUDED.total_seconds()
        self._failed = {node: at for node, at in self._failed.items() if at > limit}
        return frozenset(self._failed)


async def _some_at_a_time(items: Sequence[T], call: Callable[[T], Awaitable[None]]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(subject: T) -> None:
        async with gate:
            await call(subject)

    answers = await asyncio.gather(*(one(subject) for subject in items), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
