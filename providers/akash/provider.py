"""The `akash` provider: each job is a deployment of its own, through the Console's API."""

import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from cortex.domain.conditions import Conditions
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.spec import JobSpec
from providers.akash import money
from providers.akash.callback import Callback
from providers.akash.conditions import conditions
from providers.akash.config import AkashConfig
from providers.akash.console.client import Console
from providers.akash.deployment.deployments import Deployments
from providers.akash.deployment.reserve import Reserver
from providers.akash.deployment.start import Starter
from providers.akash.deployment.statuses import Statuses
from providers.akash.deployment.upkeep import Upkeep
from providers.akash.gateway.client import Gateway
from providers.akash.gateway.logs import Logs
from providers.akash.gateway.outputs import Outputs
from providers.akash.market import Market
from providers.akash.names import lease_ref
from providers.akash.offers import Offers
from providers.base import (
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
from providers.errors import LeaseLost, ProviderError


class AkashProvider(Provider[AkashConfig]):
    """One account at the Akash Console."""

    type_name: ClassVar[str] = "akash"
    Config: ClassVar[type[ProviderConfig]] = AkashConfig

    def __init__(self, provider_id: str, config: AkashConfig) -> None:
        super().__init__(provider_id, config)
        self._console = Console(config)
        self._deployments = Deployments(self._console, config)
        self._market = Market(self._console, config)
        self._gateway = Gateway(self._console, config, self._market)
        self._offers = Offers(provider_id, self._console, config, self._market)
        # The drop box is the worker's: which one it is, is looked up when it is used.
        self._callback = Callback(lambda: self.drop, config.mark)
        self._reserver = Reserver(
            self._console, config, self._deployments, self._market, self._offers, self._callback
        )
        self._starter = Starter(self._console, config, self._market, self._deployments)
        self._logs = Logs(self._console, config, self._gateway)
        self._statuses = Statuses(
            self._console, config, self._market, self._gateway, self._logs, self._callback
        )
        self._outputs = Outputs(config, self._gateway)
        self._upkeep = Upkeep(self._console, config, self._deployments)
        self._conditions: dict[tuple[bool, bool], Conditions] = {}
        self._gpu_models: tuple[str, ...] = ()
        self._regions: tuple[str, ...] = ()

    async def initialize(self) -> None:
        await self._console.open()
        models = (await self._console.gpu_prices()).models
        self._gpu_models = tuple(
            sorted({model.model.lower() for model in models if model.vendor == "nvidia"})
        )
        regions = await self._console.regions()
        self._regions = tuple(sorted({region.key for region in regions if region.providers}))

    async def aclose(self) -> None:
        await self._gateway.aclose()
        await self._console.aclose()

    def capabilities(self) -> Capabilities:
        """What the whole network can run; whether somebody does is said by bids."""
        return Capabilities(
            images=True,
            processes=False,
            ports=True,
            volumes=True,
            gpu_models=self._gpu_models,
            regions=self._regions,
            max_cpu=Decimal(384),
            max_storage=32 * 2**40,
            poll_interval=self.config.poll,
            two_phase=True,
            keeps_results=False,
            inputs=self.drop is not None,
            conditions=self._conditions_now(),
        )

    async def pricing(self) -> PriceSheet:
        return await self._offers.sheet()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        """One offer for the network as a whole: who takes the job is settled by auction."""
        if self.capabilities().objections(spec):
            return []
        return await self._offers.quote(spec)

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        """Create the deployment and wait for bids. Nothing is paid before a lease; what the
        deployment is funded with is locked meanwhile.
        """
        price = offer.price_per_hour if offer else await self._offers.asked(spec)
        ref, bid = await self._reserver.reserve(spec, key, price, report)
        return Reservation(ref=ref, price_per_hour=self._hourly(bid))

    async def put_inputs(self, reservation: Reservation, archive: Path) -> None:
        """Into the drop box, from which the runner gets them before the command begins."""
        await self._callback.put_inputs(reservation.ref.key, archive)

    async def commit(self, reservation: Reservation) -> Committed:
        """Lease the best bid and send what to run."""
        ref = reservation.ref
        if not ref.network_id.isdecimal():
            raise LeaseLost(f"lease `{ref.key}` is none of Akash's")
        await self._starter.start(ref, self._reserver.manifest(ref.network_id))
        return Committed(ref=ref)

    async def find(self, key: str) -> Found | None:
        """By the mark in the deployment's name. Doubles of an active one are closed here.

        Raises:
            Unavailable: it cannot be told; one that was asked for may still be made.
        """
        active = await self._deployments.active(key)
        if active:
            kept, marker = active[0]
            if len(active) > 1:
                await self._deployments.sole(key)
            committed = kept.lease is not None
            return Found(ref=lease_ref(kept.dseq, marker), committed=committed)
        closed = await self._deployments.closed(key)
        if closed is None:
            self._reserver.require_answered(key)
            return None
        detail = await self._console.detail(closed[0])
        committed = detail is not None and detail.lease is not None
        return Found(ref=lease_ref(*closed), committed=committed)

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        return await self._statuses.of(refs) if refs else []

    async def stop(self, ref: LeaseRef) -> None:
        """SIGTERM to the command of a batch, through a shell in its container."""
        await self._statuses.stop(ref)

    async def cancel(self, ref: LeaseRef) -> None:
        """Close the deployment; logs and files go with it."""
        if ref.network_id.isdecimal():
            await self._deployments.close(ref.network_id)

    async def forget(self, ref: LeaseRef) -> None:
        """The chain keeps its records; nothing is left to remove but what a runner has sent."""
        self._statuses.forget(ref)
        await self._callback.forget(ref)

    async def usage(self, ref: LeaseRef) -> Usage:
        detail = None
        if ref.network_id.isdecimal():
            detail = await self._console.detail(ref.network_id)
        if detail is None:
            raise LeaseLost(f"the network knows nothing of lease `{ref.key}`")
        height = 0
        if detail.escrow_account.state.state == "open":
            height = (await self._console.height()).height
        return money.usage(detail, height, self.config)

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        async for line in self._logs.lines(ref, since, follow):
            yield line

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        """Fetch result files out of the container, while it is there.

        Raises:
            LeaseLost: the lease has ended, and its files with it.
            InvalidSpec: the files are larger than `max_output_bytes`.
        """
        detail = None
        if ref.network_id.isdecimal():
            detail = await self._console.detail(ref.network_id)
        lease = detail.lease if detail is not None and detail.active else None
        if lease is None or not lease.live:
            raise LeaseLost(f"the files of lease `{ref.key}` are gone with its container")
        return await self._outputs.collect(ref, lease.id, paths, destination)

    async def owned(self) -> list[LeaseRef]:
        """Every active deployment that carries our mark; closed ones cost nothing."""
        active = await self._deployments.all_active()
        return [lease_ref(detail.dseq, marker) for detail, marker in active]

    async def network_status(self) -> NetworkStatus:
        asked = time.monotonic()
        try:
            balance = (await self._console.balances()).free
            latency = timedelta(seconds=time.monotonic() - asked)
            known = (await self._market.known()).values()
        except ProviderError as error:
            return NetworkStatus(reachable=False, message=str(error))
        online = [each for each in known if each.is_online]
        return NetworkStatus(
            reachable=True,
            latency=latency,
            balance=Money(amount=balance, currency="USD"),
            capacity={
                "providers": str(len(online)),
                "audited": str(sum(each.is_audited for each in online)),
                "gpu_models": str(len(self._gpu_models)),
            },
        )

    async def tend(self, refs: Sequence[LeaseRef]) -> None:
        """Move runtime limits on, close doubles; at older Consoles, top up what runs low."""
        await self._upkeep.tend(refs)

    def _conditions_now(self) -> Conditions:
        seals = self._console.extended and self.config.seal_secrets != "never"
        state = (seals, self.drop is not None)
        if state not in self._conditions:
            self._conditions[state] = conditions(self.config, self._callback, seals=seals)
        return self._conditions[state]

    def _hourly(self, per_block: Decimal) -> Money:
        return money.per_hour(per_block, self.config)
