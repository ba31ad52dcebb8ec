"""A connection whose making is broken off is closed, and not left to the garbage collector."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from cortex.db.engine import Database
from cortex.db.notify import Notifier
from cortex.db.readpool import ReadPool
from cortex.settings import DatabaseSettings
from tests.support import eventually


def lines(url: str) -> int:
    """How many connections this process has to the server."""
    port = make_url(url).port
    found = psutil.Process().net_connections()
    return sum(1 for each in found if each.raddr and each.raddr.port == port)


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@asynccontextmanager
async def database(settings: DatabaseSettings) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    opened = Database(settings)

    async def read() -> None:
        async with opened.reading():
            await asyncio.sleep(60)

    yield read
    await opened.aclose()


@asynccontextmanager
async def pool(settings: DatabaseSettings) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    opened = ReadPool(settings, application="t")

    async def read() -> None:
        await opened.fetch(b"SELECT 1", {})
        await asyncio.sleep(60)

    yield read
    await opened.aclose()


@asynccontextmanager
async def notifier(settings: DatabaseSettings) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    async def listen() -> None:
        listening = Notifier(settings, ("t",))
        await listening.start()
        try:
            await asyncio.sleep(60)
        finally:
            await listening.aclose()

    yield listen


@pytest.mark.parametrize("opening", [database, pool, notifier], ids=lambda each: each.__name__)
async def test_broken_off_at_any_moment_it_leaves_none(
    database_url: str,
    uncollected: None,
    opening: Callable[
        [DatabaseSettings], contextlib.AbstractAsyncContextManager[Callable[[], Awaitable[object]]]
    ],
) -> None:
    settings = DatabaseSettings(url=SecretStr(database_url))
    before = lines(database_url)
    for step in range(40):
        async with opening(settings) as use:
            task = asyncio.ensure_future(use())
            for _ in range(step):  # so many turns of the loop, each a millisecond at least
                await asyncio.sleep(0.0003)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def closed() -> bool:
        return lines(database_url) == before

    await eventually(closed, what="all of them are closed")
