"""Markets as offers: a market is a kind of node with a price; a job takes a whole node.

Whether the hourly price of a market holds the network's fee already is not documented. So an
offer's price is the upper end, with the fee on top, and its text names both ends.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal

from cortex.domain.money import Money, format_amount
from cortex.domain.offers import Offer
from cortex.domain.spec import Gpu, JobSpec
from providers.nosana import wire
from providers.nosana.config import NosanaConfig

CURRENCY = "USD"
_FREE = timedelta(minutes=1)
_BUSY = timedelta(minutes=10)
_NOISE = re.compile(r"nvidia|geforce|\(.*?\)")
_SIZE = re.compile(r"\d+ ?gb")
_HUNDRED = Decimal(100)


def usable(markets: Iterable[wire.Market], config: NosanaConfig) -> list[wire.Market]:
    """The markets that the configuration allows, cheapest first."""
    allowed = [market for market in markets if _allowed(market, config)]
    return sorted(allowed, key=lambda market: (hourly(market, config), market.address))


def hourly(market: wire.Market, config: NosanaConfig) -> Decimal:
    """The most that an hour costs there, in USD."""
    price = market.usd_reward_per_hour
    if config.fee_included:
        return price
    return price * (_HUNDRED + market.network_fee_percentage) / _HUNDRED


def gpu_names(market: wire.Market) -> set[str]:
    """What a job may call the GPUs of a market: `rtx4090`; `a100` and `a10080gb`."""
    names: set[str] = set()
    for text in market.gpu_types:
        plain = _NOISE.sub("", text.lower())
        names |= {_packed(plain), _packed(_SIZE.sub("", plain))}
    return {name for name in names if name}


def offers(
    spec: JobSpec, markets: Sequence[wire.Market], config: NosanaConfig, provider_id: str
) -> list[Offer]:
    """One offer for each market that has what the job needs."""
    gpu = spec.resources.gpu
    return [
        Offer(
            provider_id=provider_id,
            price_per_hour=Money(amount=hourly(market, config), currency=CURRENCY),
            hardware=_hardware(market, config),
            expected_wait=_BUSY if market.nodes is not None and not market.nodes else _FREE,
            data={"market": market.address},
        )
        for market in markets
        if gpu is None or _has(market, gpu)
    ]


def _allowed(market: wire.Market, config: NosanaConfig) -> bool:
    if market.usd_reward_per_hour <= 0:
        return False  # a market without a price is closed or for its owner alone
    if config.markets:
        return bool({market.address, market.slug} & set(config.markets))
    return market.type in config.market_types


def _has(market: wire.Market, gpu: Gpu) -> bool:
    if gpu.count > 1 or gpu.vendor != "nvidia":
        return False
    return gpu.model is None or _packed(gpu.model.lower()) in gpu_names(market)


def _hardware(market: wire.Market, config: NosanaConfig) -> str:
    gpus = " or ".join(market.gpu_types) or "no GPU named"
    vram = f", {market.lowest_vram:g} GB" if market.lowest_vram else ""
    low, high = market.usd_reward_per_hour, hourly(market, config)
    price = f"{format_amount(low)} to {format_amount(high)} USD per hour" if low != high else ""
    return ", ".join(part for part in (f"{market.name}: {gpus}{vram}", price) if part)


def _packed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)
