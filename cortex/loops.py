"""The event loop of a process that serves."""

import asyncio
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where the system has it: less work per request and per query; None: Python's own.

    Its subprocesses cannot be given a user: who starts one as another user takes Python's loop.
    """
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory
