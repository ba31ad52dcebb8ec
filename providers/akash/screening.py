"""Who could run a job, asked before anything is made."""

from typing import Any

from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.sdl.manifest import gpu_attributes, milli, size_of, storage_attributes


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
                "name": item.get("name") or "default",
                "quantity": {"val": size_of(item["size"])},
                "attributes": storage_attributes(item),
            }
            for item in compute["storage"]
        ],
        "endpoints": [],
    }
