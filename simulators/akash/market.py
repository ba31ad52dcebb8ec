"""Who bids on what, and for how much."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from simulators.akash.settings import AkashSettings, SimProvider

_MONTH_HOURS = Decimal(438_293) / 600
_GIB = Decimal(2**30)
_PRICE = Decimal("0.000001")
_CPU_MONTH, _MEMORY_MONTH, _STORAGE_MONTH = Decimal("1.6"), Decimal("0.8"), Decimal("0.02")
_GPU = re.compile(r"vendor/(?P<vendor>[^/]+)/model/(?P<model>[^/]+)(?:/.*)?")


@dataclass(frozen=True)
class Need:
    """What a bid is asked for: sums over one copy of the service."""

    cpu_milli: int
    memory: int
    storage: int
    gpus: int
    models: tuple[str, ...]
    region: str | None
    ram_storage: bool


def monthly(cpu_milli: int, memory: int, storage: int) -> Decimal:
    """USD a month without GPUs."""
    return (
        Decimal(cpu_milli) / 1000 * _CPU_MONTH
        + memory / _GIB * _MEMORY_MONTH
        + storage / _GIB * _STORAGE_MONTH
    )


def need_of(resource: Mapping[str, Any], attributes: Mapping[str, str]) -> Need:
    """From the chain's form of resources."""
    models = []
    for attribute in resource["gpu"].get("attributes") or ():
        match = _GPU.fullmatch(attribute["key"])
        if match is not None:
            models.append(match["model"])
    return Need(
        cpu_milli=int(Decimal(resource["cpu"]["units"]["val"])),
        memory=int(_size(resource["memory"])),
        storage=sum(int(_size(volume)) for volume in resource["storage"]),
        gpus=int(resource["gpu"]["units"]["val"]),
        models=tuple(models),
        region=attributes.get("location-region"),
        ram_storage=any(_class(volume) == "ram" for volume in resource["storage"]),
    )


def fits(provider: SimProvider, need: Need) -> bool:
    """Whether this provider has room for it."""
    if not provider.online or need.region not in (None, provider.region):
        return False
    if need.ram_storage and not provider.ram_storage:
        return False
    if need.cpu_milli > provider.cpu_milli or need.memory > provider.memory:
        return False
    if not need.gpus:
        return True
    wanted = [name for name in need.models if name != "*"] or list(provider.gpus)
    return any(provider.gpus.get(name, 0) >= need.gpus for name in wanted)


def price(provider: SimProvider, need: Need, settings: AkashSettings) -> Decimal:
    """What this provider asks, uact per block."""
    hourly = monthly(need.cpu_milli, need.memory, need.storage) / _MONTH_HOURS
    if need.gpus:
        wanted = [name for name in need.models if name != "*"] or list(provider.gpus)
        mine = [settings.gpu_hour[name] for name in wanted if name in provider.gpus]
        hourly += min(mine) * need.gpus
    blocks = 3600 / Decimal(str(settings.block_seconds))
    asked = hourly * provider.price_factor * 1_000_000 / blocks
    return asked.quantize(_PRICE, rounding=ROUND_CEILING)


def _class(volume: Mapping[str, Any]) -> str:
    attributes = {entry["key"]: entry["value"] for entry in volume.get("attributes") or ()}
    return str(attributes.get("class", ""))


def _size(volume: Mapping[str, Any]) -> Decimal:
    return Decimal((volume.get("quantity") or volume["size"])["val"])
