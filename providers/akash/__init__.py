"""Akash: containers leased by auction, through the Console's API."""

from typing import TYPE_CHECKING

from providers.lazy import offer

if TYPE_CHECKING:
    from providers.akash.config import AkashConfig, RegistryLogin
    from providers.akash.provider import AkashProvider

__all__ = ["AkashConfig", "AkashProvider", "RegistryLogin"]
__getattr__ = offer(
    __name__,
    {
        "Config": "config.AkashConfig",
        "AkashConfig": "config.AkashConfig",
        "AkashProvider": "provider.AkashProvider",
        "RegistryLogin": "config.RegistryLogin",
    },
)
