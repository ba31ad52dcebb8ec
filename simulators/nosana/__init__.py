"""A stand-in for Nosana's deployment API and the nodes behind it."""

from simulators.nosana.world import API_KEY, NosanaWorld

__all__ = ["API_KEY", "NosanaWorld"]
