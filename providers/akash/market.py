"""The network's providers: who could run a job, and whose bid is taken.

Chosen is by price, measured uptime, audit, region and our experience.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from cortex.domain.spec import JobSpec
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.money import per_hour
from providers.akash.sdl.manifest import gpu_attributes, milli, size_of, storage_attributes

_COOL_DOWN = 30 * 60
_UNKNOWN_UPTIME = Decimal("0.9")
_LEAST_UPTIME = Decimal("0.05")
_UNAUDITED = Decimal("1.25")
_SEEN_FOR = 60
_SILENCES_KEPT = 500
_HARDLY_MORE = Decimal("1.1")
_Shape = tuple[object, ...]


class Market:
    """The network's providers, and which of them have failed us lately."""

    def __init__(self, console: Console, config: AkashConfig) -> None:
        self._console = console
        self._config = config
        self._cool: dict[str, float] = {}
        self._known: dict[str, wire.ProviderInfo] = {}
        self._read_at = -float(_SEEN_FOR)
        self._silences: dict[_Shape, tuple[float, Decimal]] = {}

    async def known(self) -> dict[str, wire.ProviderInfo]:
        """All providers by address, read at most once a minute."""
        if time.monotonic() - self._read_at >= _SEEN_FOR:
            self._known = {provider.owner: provider for provider in await self._console.providers()}
            self._read_at = time.monotonic()
        return self._known

    def failed(self, provider: str) -> None:
        """It let us down: prefer others for half an hour."""
        self._cool[provider] = time.monotonic() + _COOL_DOWN

    def silent(self, spec: JobSpec, cap: Decimal) -> None:
        """Nobody has bid for such a job at this price, though some may be listed as able."""
        self._silences[_shape(spec)] = (time.monotonic(), cap)
        while len(self._silences) > _SILENCES_KEPT:
            self._silences.pop(next(iter(self._silences)))

    def heard(self, spec: JobSpec) -> None:
        """Somebody has bid for such a job."""
        self._silences.pop(_shape(spec), None)

    def silence(self, spec: JobSpec, cap: Decimal) -> timedelta | None:
        """How long ago nobody bid for such a job, at no lower a price; None if somebody may."""
        since, at = self._silences.get(_shape(spec), (0.0, Decimal(-1)))
        age = timedelta(seconds=time.monotonic() - since)
        return age if cap <= at * _HARDLY_MORE and age < self._config.silence_kept else None

    async def label(self, address: str) -> str:
        """How to name a provider to a user."""
        info = (await self.known()).get(address)
        return info.label if info else address

    async def ranked(self, bids: Sequence[wire.Bid], regions: Sequence[str] = ()) -> list[wire.Bid]:
        """Open bids that can be taken, the best first."""
        known = await self.known()
        good = []
        for bid in bids:
            info = known.get(bid.id.provider)
            if bid.state == "open" and self._takes(bid, info, regions):
                good.append((self._score(bid, info), bid.id.provider, bid))
        return [bid for _, _, bid in sorted(good, key=lambda scored: scored[:2])]

    def _takes(self, bid: wire.Bid, info: wire.ProviderInfo | None, regions: Sequence[str]) -> bool:
        if bid.price.denom != "uact" or bid.id.provider in self._config.avoid_providers:
            return False
        if info is None:  # bids of the Console come from audited providers
            return not regions
        if not info.is_online or (self._config.audited_only and not info.is_audited):
            return False
        return not regions or info.location_region in regions

    def _score(self, bid: wire.Bid, info: wire.ProviderInfo | None) -> tuple[bool, Decimal]:
        cooling = self._cool.get(bid.id.provider, 0) > time.monotonic()
        uptime = info.uptime7d if info and info.uptime7d is not None else _UNKNOWN_UPTIME
        # Time lost to a provider that goes away costs more than its share: the third power.
        score = bid.price.amount / max(uptime, _LEAST_UPTIME) ** 3
        if info is None or not info.is_audited:
            score *= _UNAUDITED
        return cooling, score


def _shape(spec: JobSpec) -> _Shape:
    """What of a job decides who bids for it, beside the price."""
    need = spec.resources
    gpu = (need.gpu.vendor, need.gpu.model, need.gpu.count) if need.gpu is not None else None
    sizes = need.cpu, need.memory, need.storage, sum(volume.size for volume in spec.volumes)
    return gpu, *sizes, tuple(sorted(spec.placement.regions))


def nobody(spec: JobSpec, cap: Decimal, able: int, config: AkashConfig) -> str:
    """Why there is no bid, in words."""
    price = per_hour(cap, config)
    gpu = spec.resources.gpu
    if able:
        why = (
            f"{able} providers of Akash could run the job, but none bids at most {price} per "
            "hour for it; allow a higher `placement.max_price`, or try later"
        )
        if gpu is not None:
            why += "; a GPU that is listed may be in use, or spread over several machines"
        return why
    if gpu is not None:
        name = f"GPU `{gpu.model}`" if gpu.model else "GPU"
        return f"no provider of Akash has {gpu.count} x {name} free on one machine now"
    return "no provider of Akash has room for the job now; smaller `resources` find more offers"


async def able(console: Console, sdl: dict[str, Any]) -> list[wire.Screened]:
    """The providers that have room for this SDL. The price plays no part."""
    return await console.screen(_question(sdl))


def _question(sdl: dict[str, Any]) -> dict[str, Any]:
    (placement,) = sdl["profiles"]["placement"].values()
    (compute,) = sdl["profiles"]["compute"].values()
    attributes = placement.get("attributes") or {}
    unit = {
        "resource": _resource(compute["resources"]),
        "count": 1,
        "price": {"denom": "uact", "amount": "10000000"},
    }
    return {
        "resources": [unit],
        "requirements": {
            "attributes": [{"key": key, "value": attributes[key]} for key in sorted(attributes)]
        },
        "timezone": "UTC",
    }


def _resource(compute: dict[str, Any]) -> dict[str, Any]:
    gpu = compute.get("gpu") or {}
    return {
        "id": 1,
        "cpu": {"units": {"val": milli(compute["cpu"]["units"])}, "attributes": []},
        "memory": {"quantity": {"val": size_of(compute["memory"]["size"])}, "attributes": []},
        "gpu": {
            "units": {"val": str(gpu.get("units", 0))},
            "attributes": gpu_attributes(gpu),
        },
        "storage": [
            {
                "name": volume.get("name") or "default",
                "quantity": {"val": size_of(volume["size"])},
                "attributes": storage_attributes(volume),
            }
            for volume in compute["storage"]
        ],
        "endpoints": [],
    }
