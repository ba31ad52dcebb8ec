"""Akash: containers leased by auction, through the Console's API."""

from providers.akash.config import AkashConfig, RegistryLogin
from providers.akash.provider import AkashProvider

__all__ = ["AkashConfig", "AkashProvider", "RegistryLogin"]
