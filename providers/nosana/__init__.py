"""Runs containers on Nosana's GPU nodes."""

from typing import TYPE_CHECKING

from providers.lazy import offer

if TYPE_CHECKING:
    from providers.nosana.config import NosanaConfig
    from providers.nosana.provider import NosanaProvider

__all__ = ["NosanaConfig", "NosanaProvider"]
__getattr__ = offer(
    __name__,
    {
        "Config": "config.NosanaConfig",
        "NosanaConfig": "config.NosanaConfig",
        "NosanaProvider": "provider.NosanaProvider",
    },
)
