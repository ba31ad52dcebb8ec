"""LISTEN: one connection per process wakes everyone who waits for a channel."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import psycopg
import structlog

from cortex.settings import DatabaseSettings
from cortex.tasks import end_task

_log = structlog.get_logger(__name__)


class Notifier:
    """Wakes waiters when PostgreSQL notifies. A lost connection wakes all, so nothing is missed.

    Notifications carry no data that matters: whoever is woken reads the database again.
    """

    def __init__(self, settings: DatabaseSettings, channels: tuple[str, ...]) -> None:
        self._settings = settings
        self._channels = channels
        self._waiters: set[tuple[str, str | None, asyncio.Event]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="pg-notifier")

    async def aclose(self) -> None:
        if self._task is not None:
            await end_task(self._task)

    @contextlib.contextmanager
    def subscribe(self, channel: str, payload: str | None = None) -> Iterator[asyncio.Event]:
        """An event that is set at every notification (of this payload, if one is given)."""
        event = asyncio.Event()
        entry = (channel, payload, event)
        self._waiters.add(entry)
        try:
            yield event
        finally:
            self._waiters.discard(entry)

    async def _run(self) -> None:
        wait = 0.2
        while True:
            try:
                async for channel, payload in self._listen():
                    wait = 0.2
                    self._wake(channel, payload)
            except (psycopg.Error, OSError) as error:
                _log.warning("listen.lost", error=str(error).strip().splitlines()[:1])
            self._wake(None, None)
            await asyncio.sleep(wait)
            wait = min(wait * 2, 5.0)

    async def _listen(self) -> AsyncIterator[tuple[str | None, str | None]]:
        connection = await psycopg.AsyncConnection.connect(
            self._settings.url.get_secret_value(), autocommit=True, connect_timeout=5
        )
        async with connection:
            for channel in self._channels:
                await connection.execute(f"LISTEN {channel}".encode())
            yield None, None
            async for notice in connection.notifies():
                yield notice.channel, notice.payload

    def _wake(self, channel: str | None, payload: str | None) -> None:
        for wanted, wanted_payload, event in self._waiters:
            if channel is None or (
                wanted == channel and (wanted_payload is None or wanted_payload == payload)
            ):
                event.set()


async def wait_event(event: asyncio.Event, timeout: float) -> None:
    """Wait for the event, at most `timeout` seconds, and clear it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout)
    event.clear()
