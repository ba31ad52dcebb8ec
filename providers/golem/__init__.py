"""Golem Network, through the REST API of a yagna daemon."""

from typing import TYPE_CHECKING

from providers.lazy import offer

if TYPE_CHECKING:
    from providers.golem.config import GolemConfig
    from providers.golem.provider import GolemProvider

__all__ = ["GolemConfig", "GolemProvider"]
__getattr__ = offer(
    __name__,
    {
        "Config": "config.GolemConfig",
        "GolemConfig": "config.GolemConfig",
        "GolemProvider": "provider.GolemProvider",
    },
)
