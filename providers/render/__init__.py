"""Renders scenes: on the Render Network, at a render gateway, or on this machine."""

from typing import TYPE_CHECKING

from providers.lazy import offer

if TYPE_CHECKING:
    from providers.render.config import RenderConfig
    from providers.render.provider import RenderProvider

__all__ = ["RenderConfig", "RenderProvider"]
__getattr__ = offer(
    __name__,
    {
        "Config": "config.RenderConfig",
        "RenderConfig": "config.RenderConfig",
        "RenderProvider": "provider.RenderProvider",
    },
)
