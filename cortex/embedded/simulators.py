"""The simulated networks of `cortex up --simulators`: which there are, and how they are reached.

The keys below open nothing: each simulator accepts exactly these, and only on this machine.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final


def simulated_providers(urls: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The providers that use the simulators at these addresses, by their ids."""
    return {provider_id(name): {"type": name, **_CONFIG[name](url)} for name, url in urls.items()}


_IMAGES: Final = ("alpine:3", "busybox", "busybox:1.36", "debian:12-slim", "python:3.12-slim")
"""Those of the examples, and their like. Golem's registry has images under a user's name only, and
Render's machines run an image's own entry point: there each has a stand-in of its own."""


def _golem(url: str) -> dict[str, Any]:
    return {
        "url": url,
        "app_key": "golem-simulator",
        "payment_platform": "erc20-polygon-glm",
        "registry_url": f"{url}/registry",
        "stats_url": f"{url}/stats",
        "rate_url": f"{url}/rate",
        "images": {image: f"cortex/{image}" for image in _IMAGES},
        # Nobody is far away, and those who look on should not wait.
        "collect_for": 0.5,
        "scan_for": 1,
        "poll_interval": 1,
        "invoice_wait": 10,
        "negotiation_timeout": 8,
    }


def _akash(url: str) -> dict[str, Any]:
    return {
        "console_url": url,
        "chain_url": url,
        "api_key": "ac.sk.simulated." + "5" * 64,
        # Its chain is quicker than the real one, and so are its providers.
        "block_seconds": "0.5",
        "bid_wait": "1s",
        "bid_deadline": "8s",
        "bid_poll": "0.3s",
        "poll": "1s",
        "search_window": "10s",
        "ready_within": "20s",
        "dark_after": "20s",
        "upkeep_every": "10s",
    }


def _nosana(url: str) -> dict[str, Any]:
    return {"url": url, "api_key": "nos_simulated_key", "poll_interval": "1s"}


def _render(url: str) -> dict[str, Any]:
    return {
        "driver": "dispersed",
        "url": url,
        "public_key": "pk_simulated_0001",
        "secret_key": "sk_simulated_0001",
        "blender_image": "cortex/blender:5",
        "images": {image: f"cortex/runner-{image}" for image in _IMAGES},
        "poll_interval": "1s",
    }


_CONFIG: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "akash": _akash,
    "golem": _golem,
    "nosana": _nosana,
    "render": _render,
}
SIMULATORS: Final = tuple(_CONFIG)


def provider_id(name: str) -> str:
    """What the provider of a simulator is called: `akash-sim`."""
    return f"{name}-sim"


def service_name(name: str) -> str:
    """What the process of a simulator is called in `cortex status`: `sim-akash`."""
    return f"sim-{name}"
