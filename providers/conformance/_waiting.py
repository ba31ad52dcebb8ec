"""Waiting for something to come true, with a deadline that knows how busy the machine is."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def slowdown() -> float:
    """How much longer things take now than on an idle machine: runnable tasks for each core, >= 1.

    By the load average of the last minute; 1 where the system has none.
    """
    try:
        return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    except OSError:
        return 1.0


class Patience:
    """So many seconds of an idle machine: on a busy one they last longer, as everything does."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._looked = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        now = time.monotonic()
        self._left -= (now - self._looked) / slowdown()
        self._looked = now
        return self._left <= 0


async def eventually(
    check: Callable[[], Awaitable[T]],
    *,
    timeout: float = 30,
    interval: float = 0.05,
    what: str = "the condition",
) -> T:
    """The first truthy answer of `check`, asked every `interval` seconds.

    An AssertionError of `check` counts as "not yet".

    Raises:
        AssertionError: it did not come within `timeout` seconds, of an idle machine; says what was
            waited for.
    """
    patience, began = Patience(timeout), time.monotonic()
    while True:
        problem: AssertionError | None = None
        try:
            answer = await check()
            if answer:
                return answer
        except AssertionError as error:
            problem = error
        if patience.over:
            waited = f"{timeout:g} s ({time.monotonic() - began:.0f} on this machine)"
            raise AssertionError(f"{what} did not come true within {waited}") from problem
        await asyncio.sleep(interval)
