"""Renders scenes: on the Render Network, at a render gateway, or on this machine."""

from providers.render.config import RenderConfig
from providers.render.provider import RenderProvider

__all__ = ["RenderConfig", "RenderProvider"]
