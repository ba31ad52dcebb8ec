"""Runs containers on Nosana's GPU nodes."""

from providers.nosana.config import NosanaConfig
from providers.nosana.provider import NosanaProvider

__all__ = ["NosanaConfig", "NosanaProvider"]
