"""The Render Network on localhost: Dispersed's API, and the render gateway."""
