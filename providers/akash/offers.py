"""What Akash offers for a job, before there is an auction for it."""

from datetime import timedelta
from decimal import Decimal

from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_duration
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.credit import Credit
from providers.akash.market import Market, nobody
from providers.akash.pricing import Prices
from providers.akash.screening import able
from providers.akash.sdl.render import render
from providers.errors import InvalidSpec, NoCapacity, Unsuitable

# Any key: it is not part of what is asked.
_AFTER_SILENCE = Decimal("0.1")
_NO_KEY = f"job_{'0' * 26}-1"


class Offers:
    """Makes offers of what the network's providers could do."""

    def __init__(
        self,
        provider_id: str,
        console: Console,
        config: AkashConfig,
        market: Market,
        prices: Prices,
        credit: Credit,
    ) -> None:
        self._id = provider_id
        self._console = console
        self._config = config
        self._market = market
        self._prices = prices
        self._credit = credit

    async def quote(self, spec: JobSpec) -> list[Offer]:
        """One offer.

        Raises:
            NoCapacity: nobody could bid now, and why.
            InsufficientFunds: the account cannot start anything now.
            Unsuitable: Akash never runs such a job.
        """
        price = await self._prices.asked(spec)
        if price is None:
            raise NoCapacity(
                "nobody has named a price for such a GPU yet; with `placement.max_price` in USD "
                "the network is asked all the same"
            )
        cap = self._prices.cap(spec, None)
        try:
            rendered = render(spec, _NO_KEY, self._config, cap)
        except InvalidSpec as error:
            raise Unsuitable(str(error)) from None
        candidates = await self._candidates(rendered.sdl, spec)
        if not candidates:
            raise NoCapacity(nobody(spec, cap, 0, self._config))
        notes = await self._credit.notes(spec, price)
        offer = self._prices.offer(spec, self._id, price, candidates)
        silence = self._market.silence(spec, self._prices.cap(spec, price))
        if silence is not None:
            ago = format_duration(timedelta(seconds=round(silence.total_seconds())))
            notes += (
                f"{len(candidates)} providers are listed as able to run it, but {ago} ago none "
                "of them bid for such a job at this price",
            )
            availability = min(offer.availability, _AFTER_SILENCE)
            offer = offer.model_copy(update={"availability": availability})
        return [offer.model_copy(update={"notes": notes})]

    async def _candidates(self, sdl: dict[str, object], spec: JobSpec) -> list[wire.ProviderInfo]:
        known = await self._market.known()
        found = []
        for screened in await able(self._console, sdl):
            info = known.get(screened.owner)
            if info is None or not info.is_online:
                continue
            if self._config.audited_only and not info.is_audited:
                continue
            if info.owner in self._config.avoid_providers:
                continue
            if spec.placement.regions and info.location_region not in spec.placement.regions:
                continue
            found.append(info)
        return found
