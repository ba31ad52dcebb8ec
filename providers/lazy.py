"""Packages whose parts are loaded when they are first used.

A worker describes every type of provider that is installed, and opens few of them: the code of a
network that nobody has configured would cost it several MiB.
"""

from collections.abc import Callable, Mapping
from importlib import import_module


def offer(package: str, places: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package.

    Args:
        package: Its `__name__`.
        places: What it offers, each with where in the package it is: `provider.AkashProvider`.
    """

    def get(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        module, _, attribute = places[name].rpartition(".")
        offered: object = getattr(import_module(f"{package}.{module}"), attribute)
        return offered

    return get
