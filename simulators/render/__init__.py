"""The Render Network on localhost: Dispersed's API, and the render gateway."""

from simulators.render.settings import RenderSettings
from simulators.render.world import RenderWorld

__all__ = ["RenderSettings", "RenderWorld"]
