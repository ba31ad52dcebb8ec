"""What Akash offers for a job, before there is an auction for it: who could run it, at what price.

The newer Console gives a deployment half a dollar when it is made, and keeps each lease funded for
about 48 hours ahead, whatever the job needs. That credit is no cost and comes back when the
deployment is closed; until then nothing else can be started with it.
"""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal

from cortex.domain.money import Money
from cortex.domain.offers import Offer, PriceSheet
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_duration
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.market import Market, able, nobody
from providers.akash.money import per_block
from providers.akash.sdl.render import render
from providers.akash.sdl.rules import MAX_PRICE
from providers.errors import InsufficientFunds, InvalidSpec, NoCapacity, ProviderError, Unsuitable

_MONTH_HOURS = Decimal(438_293) / 600  # the Console's month is so many blocks of six seconds
_GIB = 2**30
_STEP = Decimal("0.0001")
_DOLLARS = Decimal("0.000001")
_CENT = Decimal("0.01")
_AFTER_SILENCE = Decimal("0.1")
# Any key: it is not part of what is asked.
_NO_KEY = f"job_{'0' * 26}-1"


class Offers:
    """The network's prices as the Console measures them, and what the account can still pay."""

    def __init__(
        self, provider_id: str, console: Console, config: AkashConfig, market: Market
    ) -> None:
        self._id = provider_id
        self._console = console
        self._config = config
        self._market = market

    async def quote(self, spec: JobSpec) -> list[Offer]:
        """One offer.

        Raises:
            NoCapacity: nobody could bid now, and why.
            InsufficientFunds: the account cannot start anything now.
            Unsuitable: Akash never runs such a job.
        """
        price = await self.asked(spec)
        if price is None:
            raise NoCapacity(
                "nobody has named a price for such a GPU yet; with `placement.max_price` in USD "
                "the network is asked all the same"
            )
        cap = self.cap(spec, None)
        try:
            rendered = render(spec, _NO_KEY, self._config, cap)
        except InvalidSpec as error:
            raise Unsuitable(str(error)) from None
        candidates = await self._candidates(rendered.sdl, spec)
        if not candidates:
            raise NoCapacity(nobody(spec, cap, 0, self._config))
        notes = await self._credit_notes(spec, price)
        offer = self._offer(spec, price, candidates)
        silence = self._market.silence(spec, self.cap(spec, price))
        if silence is not None:
            ago = format_duration(timedelta(seconds=round(silence.total_seconds())))
            notes += (
                f"{len(candidates)} providers are listed as able to run it, but {ago} ago none "
                "of them bid for such a job at this price",
            )
            availability = min(offer.availability, _AFTER_SILENCE)
            offer = offer.model_copy(update={"availability": availability})
        return [offer.model_copy(update={"notes": notes})]

    async def sheet(self) -> PriceSheet:
        """Prices per unit; the GPU's is the middle of all models."""
        cpu, memory, storage = await self._console.monthly(
            [
                {"cpu": 1000, "memory": 0, "storage": 0},
                {"cpu": 0, "memory": _GIB, "storage": 0},
                {"cpu": 0, "memory": 0, "storage": _GIB},
            ]
        )
        gpus = sorted(_priced((await self._console.gpu_prices()).models, None))
        return PriceSheet(
            currency="USD",
            cpu_hour=(cpu / _MONTH_HOURS).quantize(_DOLLARS),
            memory_gib_hour=(memory / _MONTH_HOURS).quantize(_DOLLARS),
            storage_gib_hour=(storage / _MONTH_HOURS).quantize(_DOLLARS),
            gpu_hour=gpus[len(gpus) // 2] if gpus else Decimal(0),
            as_of=datetime.now(UTC),
        )

    async def asked(self, spec: JobSpec) -> Money | None:
        """The price of an offer: as much as bids may ask; None where it cannot be told."""
        estimate = await self._estimate(spec)
        if estimate is None:
            highest = spec.placement.max_price
            return highest if highest is not None and highest.currency == "USD" else None
        amount = (estimate * self._config.price_headroom).quantize(_STEP, ROUND_CEILING)
        return Money(amount=amount, currency="USD")

    def cap(self, spec: JobSpec, price: Money | None) -> Decimal:
        """The most that a bid may ask, uact per block: the offer's price, and `max_price`."""
        limits = [price] if price is not None else []
        if spec.placement.max_price is not None:
            limits.append(spec.placement.max_price)
        dollars = [limit.amount for limit in limits if limit.currency == "USD"]
        # Who would pay more than can be said gets all bids.
        return min(per_block(min(dollars), self._config), MAX_PRICE) if dollars else MAX_PRICE

    async def explained(self, error: InsufficientFunds) -> InsufficientFunds:
        """The same error, with what is known of where the credit is."""
        try:
            balances = await self._console.balances()
        except ProviderError:
            return error
        free = _usd(balances.free)
        return InsufficientFunds(f"{error} ({free} are free{_held(balances.locked)})")

    async def _estimate(self, spec: JobSpec) -> Decimal | None:
        """USD per hour for this job; None where nobody has named a price for its GPU."""
        need = spec.resources
        size = {
            "cpu": int(need.cpu * 1000),
            "memory": need.memory,
            "storage": need.storage + sum(volume.size for volume in spec.volumes),
        }
        hourly = (await self._console.monthly([size]))[0] / _MONTH_HOURS
        if need.gpu is not None:
            prices = _priced((await self._console.gpu_prices()).models, need.gpu.model)
            if not prices:
                return None
            # Of the variants of a model (its memory, its interface) the dearest: bids decide.
            each = max(prices) if need.gpu.model else min(prices)
            hourly += each * need.gpu.count
        return hourly

    def _offer(self, spec: JobSpec, price: Money, candidates: list[wire.ProviderInfo]) -> Offer:
        """The network's offer, made of the providers that could run it."""
        gpu = spec.resources.gpu
        hardware = f"{len(candidates)} providers could bid"
        if gpu is not None:
            hardware = f"{gpu.count} x {gpu.model or 'GPU'}, {hardware}"
        uptimes = [each.uptime7d for each in candidates if each.uptime7d is not None]
        regions = sorted({each.location_region for each in candidates if each.location_region})
        wanted = [name for name in regions if name in spec.placement.regions]
        return Offer(
            provider_id=self._id,
            price_per_hour=price,
            region=next(iter(wanted or regions), None),
            hardware=hardware,
            expected_wait=self._config.bid_wait + timedelta(seconds=30),
            availability=min(max(uptimes), Decimal(1)) if uptimes else Decimal("0.9"),
        )

    async def _candidates(self, sdl: dict[str, object], spec: JobSpec) -> list[wire.ProviderInfo]:
        known = await self._market.known()
        candidates = []
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
            candidates.append(info)
        return candidates

    async def _credit_notes(self, spec: JobSpec, price: Money) -> tuple[str, ...]:
        """What is to be said of the account beside an offer.

        Raises:
            InsufficientFunds: it cannot start a deployment now.
        """
        if not self._config.count_credit:
            return ()
        try:
            balances = await self._console.balances()
        except ProviderError:
            return ()  # the creation will tell
        free, locked = balances.free, balances.locked
        least = self._config.min_deposit
        if free < least:
            raise InsufficientFunds(
                f"the Akash account has {_usd(free)} of free credit, and a deployment takes "
                f"{_usd(least)} at once{_held(locked)}"
            )
        lasts = free / price.amount if price.amount > 0 else None
        hours = Decimal(spec.duration.total_seconds()) / 3600
        if lasts is None or lasts >= hours:
            return ()
        return (
            f"the account's free credit, {_usd(free)}, lasts for {lasts:.1f} of the job's "
            f"{hours:.1f} hours{_held(locked)}",
        )


def _priced(models: list[wire.GpuModel], name: str | None) -> list[Decimal]:
    """Prices per GPU-hour; in the middle of what is asked."""
    wanted = name.lower() if name else None
    return [
        model.price.med
        for model in models
        if model.price is not None
        and model.vendor == "nvidia"
        and wanted in (None, model.model.lower())
    ]


def _held(locked: Decimal) -> str:
    if locked <= 0:
        return ""
    return (
        f"; {_usd(locked)} are locked in deployments that run, which the Console keeps funded for "
        "about two days ahead, and come back when they end"
    )


def _usd(amount: Decimal) -> str:
    return f"{amount.quantize(_CENT)} USD"
