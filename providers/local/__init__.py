"""Processes on this machine, for those without a container engine.

`LocalProvider` is loaded on first use: the shim lives in this package too, and must stay small.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from providers.local.config import LocalConfig
    from providers.local.provider import LocalProvider

__all__ = ["LocalConfig", "LocalProvider"]


def __getattr__(name: str) -> object:
    if name == "LocalProvider":
        from providers.local.provider import LocalProvider

        return LocalProvider
    if name in ("Config", "LocalConfig"):
        from providers.local.config import LocalConfig

        return LocalConfig
    raise AttributeError(f"module `providers.local` has no attribute `{name}`")
