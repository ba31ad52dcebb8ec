"""The simulators by name. A world is imported only when it is asked for."""

from importlib import import_module

from simulators.kit.world import World

_WORLDS = {
    "akash": "simulators.akash:AkashWorld",
    "golem": "simulators.golem:GolemWorld",
    "render": "simulators.render:RenderWorld",
    "nosana": "simulators.nosana:NosanaWorld",
}


def names() -> tuple[str, ...]:
    """All simulators that there are."""
    return tuple(_WORLDS)


def world_class(name: str) -> type[World]:
    """The class of a simulated network.

    Raises:
        KeyError: there is no simulator of this name.
    """
    module, _, attribute = _WORLDS[name].partition(":")
    world: type[World] = getattr(import_module(module), attribute)
    return world
