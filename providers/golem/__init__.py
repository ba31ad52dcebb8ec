"""Golem Network, through the REST API of a yagna daemon."""

from providers.golem.config import GolemConfig
from providers.golem.provider import GolemProvider

__all__ = ["GolemConfig", "GolemProvider"]
