"""Phase one: from a job to an approved agreement under the lease's key."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from providers.base import Report
from providers.errors import NoCapacity, ProviderError
from providers.golem import demand as names
from providers.golem.agreements import Agreements
from providers.golem.allocations import Allocations
from providers.golem.config import GolemConfig
from providers.golem.demand import lifetime, make_demand
from providers.golem.guest import Guest
from providers.golem.images import Images
from providers.golem.negotiate import Limits, Negotiator
from providers.golem.offers import Market
from providers.golem.sealed import seal
from providers.golem.wire import Agreement

# What a price may rise between an offer and the agreement.
_DRIFT = Decimal("1.02")


@dataclass(frozen=True)
class Reserver:
    """Makes reservations. The caller holds the lease's lock."""

    config: GolemConfig
    account: str
    agreements: Agreements
    allocations: Allocations
    negotiator: Negotiator
    images: Images
    market: Market
    avoided: Callable[[], frozenset[str]]

    async def reserve(
        self, spec: JobSpec, key: str, offer: Offer | None, report: Report
    ) -> Agreement:
        """The agreement of this lease: the one that is there, or a new one."""
        there = await self.agreements.under(key)
        if there is not None and there.state == "Pending":
            await self.negotiator.settle_pending(there.agreement_id)
            there = await self.agreements.under(key)
        if there is not None:
            return there
        sealed = self._sealed(spec, key)
        package = await self.images.package(spec.image, report)
        limits = await self._limits(spec, offer)
        until = datetime.now(UTC) + lifetime(spec.duration)
        held = await self.allocations.hold(key, self._amount(spec, limits), until)
        try:
            wanted = await self.allocations.decorations(held.allocation_id)
            demand = make_demand(
                spec,
                self.config,
                package=package,
                own={names.KEY: key, names.ACCOUNT: self.account},
                now=datetime.now(UTC),
                decorations={
                    wanted_property.key: wanted_property.value
                    for wanted_property in wanted.properties
                },
                also=wanted.constraints,
            )
            private = {names.SEALED: sealed, names.ALLOCATION: held.allocation_id}
            made = await self.negotiator.agree(key, demand, private, limits, report)
        except NoCapacity:
            with suppress(ProviderError):
                await self.allocations.release(held.allocation_id)
            raise
        return await self._only_one(made, key)

    async def _only_one(self, made: Agreement, key: str) -> Agreement:
        """Where another machine was as fast, one agreement stays: the same for both."""
        if not await self.agreements.others(key, made.agreement_id):
            return made
        first = await self.agreements.under(key) or made
        for other in await self.agreements.others(key, first.agreement_id):
            await self.agreements.terminate(
                other.agreement_id, {"message": "the same job was agreed twice"}
            )
        return first

    def _sealed(self, spec: JobSpec, key: str) -> str:
        job = Guest(self.config, key).job(spec)
        return seal(job, key, self.config.app_key.get_secret_value())

    async def _limits(self, spec: JobSpec, offer: Offer | None) -> Limits:
        seconds = Decimal(str(spec.duration.total_seconds()))
        most = self.config.max_glm / self.config.headroom
        prefer = ""
        if offer is not None:
            most = min(most, offer.price_per_hour.amount * seconds / 3600 * _DRIFT)
            prefer = offer.data.get("node", "")
        cap = spec.placement.max_price
        if cap is not None:
            most = min(most, await self._in_glm(cap.amount, cap.currency) * seconds / 3600)
        return Limits(seconds=seconds, most=most, prefer=prefer, avoid=self.avoided())

    async def _in_glm(self, amount: Decimal, currency: str) -> Decimal:
        if currency == self.config.currency:
            return amount
        return amount / (await self.market.rate()).usd

    def _amount(self, spec: JobSpec, limits: Limits) -> Decimal:
        """What is set aside: the dearest proposal that would be taken, to the last second."""
        life = Decimal(str(lifetime(spec.duration).total_seconds()))
        whole = limits.most * life / limits.seconds * self.config.headroom
        return min(whole, self.config.max_glm)
