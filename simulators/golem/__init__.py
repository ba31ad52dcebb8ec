"""A stand-in for a yagna daemon (release 0.17.6) and the market behind it."""

from simulators.golem.world import APP_KEY, GolemWorld

__all__ = ["APP_KEY", "GolemWorld"]
