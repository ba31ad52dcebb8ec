"""A simulated Akash: the Console's API, a market of providers, their gateways, an escrow."""

from simulators.akash.settings import API_KEY, AkashSettings
from simulators.akash.world import AkashWorld

__all__ = ["API_KEY", "AkashSettings", "AkashWorld"]
