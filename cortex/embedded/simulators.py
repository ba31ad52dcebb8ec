"""The simulated networks of `cortex up --simulators`: which there are, and how they are reached.

The keys below open nothing: each simulator accepts exactly these, and only on this machine.
"""

from collections.abc import Mapping
from typing import Any, Final

SIMULATORS: Final = ("akash", "golem", "render", "nosana")


def simulated_providers(urls: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The providers that use the simulators at these addresses, by their ids."""
    return {provider_id(name): {"type": name, **_CONFIG[name](url)} for name, url in urls.items()}


_CONFIG: Final[dict[str, Any]] = {}


def provider_id(name: str) -> str:
    """What the provider of a simulator is called: `akash-sim`."""
    return f"{name}-sim"


def service_name(name: str) -> str:
    """What the process of a simulator is called in `cortex status`: `sim-akash`."""
    return f"sim-{name}"
