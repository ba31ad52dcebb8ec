"""What a job would cost on Akash: estimates, the price sheet, offers, the cap on bids."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal

from cortex.domain.money import Money
from cortex.domain.offers import Offer, PriceSheet
from cortex.domain.spec import JobSpec
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.money import per_block
from providers.akash.sdl.rules import MAX_PRICE

_MONTH_HOURS = Decimal(438_293) / 600  # the Console's month is so many blocks of six seconds
_GIB = 2**30
_STEP = Decimal("0.0001")
_DOLLARS = Decimal("0.000001")


class Prices:
    """The network's prices, as the Console measures them."""

    def __init__(self, console: Console, config: AkashConfig) -> None:
        self._console = console
        self._config = config

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

    async def estimate(self, spec: JobSpec) -> Decimal | None:
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

    async def asked(self, spec: JobSpec) -> Money | None:
        """The price of an offer: as much as bids may ask; None where it cannot be told."""
        estimate = await self.estimate(spec)
        if estimate is None:
            highest = spec.placement.max_price
            return highest if highest is not None and highest.currency == "USD" else None
        amount = (estimate * self._config.price_headroom).quantize(_STEP, ROUND_CEILING)
        return Money(amount=amount, currency="USD")

    def offer(
        self, spec: JobSpec, provider_id: str, price: Money, able: list[wire.ProviderInfo]
    ) -> Offer:
        """The network's offer, made of the providers that could run it."""
        gpu = spec.resources.gpu
        hardware = f"{len(able)} providers could bid"
        if gpu is not None:
            hardware = f"{gpu.count} x {gpu.model or 'GPU'}, {hardware}"
        uptimes = [item.uptime7d for item in able if item.uptime7d is not None]
        regions = sorted({item.location_region for item in able if item.location_region})
        wanted = [name for name in regions if name in spec.placement.regions]
        return Offer(
            provider_id=provider_id,
            price_per_hour=price,
            region=next(iter(wanted or regions), None),
            hardware=hardware,
            expected_wait=self._config.bid_wait + timedelta(seconds=30),
            availability=min(max(uptimes), Decimal(1)) if uptimes else Decimal("0.9"),
        )

    def cap(self, spec: JobSpec, price: Money | None) -> Decimal:
        """The most that a bid may ask, uact per block: the offer's price, and `max_price`."""
        limits = [price] if price is not None else []
        if spec.placement.max_price is not None:
            limits.append(spec.placement.max_price)
        dollars = [item.amount for item in limits if item.currency == "USD"]
        # Who would pay more than can be said gets all bids.
        return min(per_block(min(dollars), self._config), MAX_PRICE) if dollars else MAX_PRICE


def _priced(models: list[wire.GpuModel], name: str | None) -> list[Decimal]:
    """Prices per GPU-hour; in the middle of what is asked."""
    wanted = name.lower() if name else None
    return [
        item.price.med
        for item in models
        if item.price is not None
        and item.vendor == "nvidia"
        and wanted in (None, item.model.lower())
    ]
