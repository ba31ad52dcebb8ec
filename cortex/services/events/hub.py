"""Live events: one reader per process hands new events to all streams of that process.

A stream registers first and then reads the past from the database until nothing is left; what it
gets handed from then on has no gap, and what it got twice is known by its position.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog

from cortex.db.engine import Database
from cortex.db.notify import Notifier, wait_event
from cortex.db.outbox.events import CHANNEL, parse_position
from cortex.domain.errors import CortexError
from cortex.domain.events import Event
from cortex.tasks import end_task

_PAGE: Final = 500
_BACKLOG: Final = 1000
"""Events a slow stream may have waiting; then it reads the database again."""

# An event can stay hidden behind an older transaction that ends without a notification.
_RECHECK: Final = 0.1
_RECHECKS: Final = 50
_IDLE: Final = 5.0
_AWAY: Final = 0.5

_log = structlog.get_logger(__name__)


class Subscription:
    """What one stream gets: new events in order, and whether it fell behind."""

    def __init__(self, covers: Callable[[Event], bool]) -> None:
        self.covers = covers
        self.wake = asyncio.Event()
        self.overflowed = False
        self._events: deque[Event] = deque()

    def put(self, event: Event) -> None:
        """Hand over an event."""
        if len(self._events) >= _BACKLOG:
            self._events.clear()
            self.overflowed = True
        if not self.overflowed:
            self._events.append(event)
        self.wake.set()

    def take(self, after: str) -> list[Event]:
        """The waiting events after a position."""
        self.wake.clear()
        place = parse_position(after)
        later = [event for event in self._events if parse_position(event.position) > place]
        self._events.clear()
        return later

    def restart(self) -> None:
        """Forget what waits: the stream reads the database again."""
        self._events.clear()
        self.overflowed = False


class EventHub:
    """Reads new events once for all streams, and ends them when the process stops."""

    def __init__(self, database: Database, notifier: Notifier) -> None:
        self.notifier = notifier
        self.stopping = False
        self._database = database
        self._subscribers: set[Subscription] = set()
        self._position: str | None = None
        self._needed = asyncio.Event()
        self._notified = asyncio.Event()
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read; costs nothing while nobody subscribes."""
        self._task = asyncio.create_task(self._run(), name="event-hub")

    def stop(self) -> None:
        """Wake all streams so that they end: the process is about to."""
        self.stopping = True
        for subscription in self._subscribers:
            subscription.wake.set()

    async def aclose(self) -> None:
        """Stop reading."""
        self.stop()
        if self._task is not None:
            await end_task(self._task)

    @contextlib.contextmanager
    def subscribe(self, covers: Callable[[Event], bool]) -> Iterator[Subscription]:
        """Get new events for which `covers` is true from now on; see `ready`."""
        subscription = Subscription(covers)
        self._subscribers.add(subscription)
        if not self._needed.is_set():
            self._needed.set()
            self._notified.set()
        if self.stopping:
            subscription.wake.set()
        try:
            yield subscription
        finally:
            self._subscribers.discard(subscription)
            if not self._subscribers:
                # The place is found anew by the next reader, who knows nothing before it.
                self._needed.clear()
                self._ready.clear()
                self._position = None

    async def ready(self) -> None:
        """Wait until what commits from now on is handed over. Read the past after this."""
        await self._ready.wait()

    async def _run(self) -> None:
        with self.notifier.subscribe(CHANNEL) as notified:
            self._notified = notified
            quiet = 0
            while True:
                await self._needed.wait()
                try:
                    events = await self._read()
                except CortexError as error:
                    _log.info("events.unreadable", why=error.detail)
                    await asyncio.sleep(_AWAY)
                    continue
                quiet = 0 if events or notified.is_set() else quiet + 1
                if len(events) < _PAGE and self._ready.is_set():
                    await wait_event(notified, _RECHECK if quiet < _RECHECKS else _IDLE)

    async def _read(self) -> Sequence[Event]:
        async with self._database.reading() as tx:
            if self._position is None:
                latest = await tx.events.latest()
                if self._subscribers:
                    self._position = latest
                    self._ready.set()
                return ()
            place = self._position
            events = await tx.events.page(place, limit=_PAGE)
        # Nobody left, or left and others came: the place is not ours to move then.
        if self._position == place and events:
            self._position = events[-1].position
            self._hand_out(events)
        return events

    def _hand_out(self, events: Sequence[Event]) -> None:
        for event in events:
            for subscription in self._subscribers:
                if subscription.covers(event):
                    subscription.put(event)
