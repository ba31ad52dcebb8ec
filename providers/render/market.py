"""Prices on Dispersed: what could be had now, as offers and as a price sheet."""

from datetime import UTC, datetime
from decimal import Decimal

from cortex.domain.money import Money
from cortex.domain.offers import Offer, PriceSheet
from cortex.domain.spec import JobSpec
from providers.render.api import DispersedApi
from providers.render.wire import WireOffer


class Market:
    """Asks for offers. A rate is taken as that of the whole offer: the network does not say."""

    def __init__(self, provider_id: str, api: DispersedApi, regions: tuple[str, ...]) -> None:
        self._provider_id = provider_id
        self._api = api
        self._regions = regions

    async def gpu_models(self) -> tuple[str, ...]:
        """The names of all GPUs that are offered, in lower case."""
        models = {offer.gpu.lower() for offer in await self._all() if offer.gpu}
        return tuple(sorted(models))

    async def count(self) -> int:
        """How many offers there are now."""
        return len(await self._all())

    async def sheet(self) -> PriceSheet:
        """The cheapest offer for an hour, whatever part of it a job uses."""
        offers = await self._all()
        rates = [offer.pricing.hourly_rate_usd for offer in offers]
        moments = [offer.pricing.quoted_at for offer in offers if offer.pricing.quoted_at]
        return PriceSheet(
            currency="USD",
            gpu_hour=min(rates, default=Decimal(0)),
            as_of=max(moments, default=datetime.now(UTC)),
        )

    async def offers(self, spec: JobSpec, parallel: int) -> list[Offer]:
        """Offers that fit, cheapest first. `parallel` jobs of the lease run at the same time."""
        params = self._filters(spec)
        name = spec.resources.gpu.model if spec.resources.gpu else None
        fitting = [
            listed
            for listed in await self._api.offers(params)
            if listed.available
            and (name is None or listed.gpu.lower() in ("", name.lower()))
            and self._in_region(listed, spec)
        ]
        made = [self._offer(listed, parallel) for listed in fitting]
        return sorted(made, key=lambda offer: (offer.usd_per_hour(), offer.data["offer_id"]))

    def _offer(self, offer: WireOffer, parallel: int) -> Offer:
        rate = offer.pricing.hourly_rate_usd
        data = {"offer_id": offer.offer_id, "rate": f"{rate:f}"}
        if offer.gpu:
            data["gpu_name"] = offer.gpu
        return Offer(
            provider_id=self._provider_id,
            price_per_hour=Money(amount=rate * parallel, currency="USD"),
            region=offer.region_code,
            hardware=offer.hardware,
            data=data,
        )

    def _filters(self, spec: JobSpec) -> dict[str, str]:
        gpu = spec.resources.gpu
        params: dict[str, str] = {}
        if gpu is not None:
            # By name is chosen below: the network wants it letter by letter.
            params["filter[gpu_count]"] = str(gpu.count)
        regions = spec.placement.regions or self._regions
        if regions:
            params["filter[allowed_region_codes]"] = ",".join(sorted(regions))
        return params

    def _in_region(self, offer: WireOffer, spec: JobSpec) -> bool:
        wanted = spec.placement.regions or self._regions
        return not wanted or offer.region_code in wanted

    async def _all(self) -> list[WireOffer]:
        return [offer for offer in await self._api.offers({}) if offer.available]
