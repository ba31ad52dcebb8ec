"""What live streams send, from where a client left off, until the job's end."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cortex.db.engine import Database
from cortex.db.jobs.logs import CHANNEL as LOG_CHANNEL
from cortex.db.jobs.logs import StoredLine
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.events import Event
from cortex.domain.states import TERMINAL_JOB_STATES
from cortex.services.events.hub import EventHub
from cortex.services.events.scopes import OfJob, Scope
from cortex.services.views import event_view, log_entry, render

T = TypeVar("T")

KEEP_ALIVE: Final = 15.0
"""Seconds of silence after which a stream says that it lives."""

LOOKS_EVERY: Final = 10.0
"""Seconds after which a stream of a log says again that somebody looks at it."""

_PAGE: Final = 500
_AWAY: Final = 1.0
_REMEMBERED: Final = 1000
_START: Final = "0-0"
_SHOWN: Final = ("state", "reason", "message", "exit_code")


@dataclass(frozen=True)
class Item:
    """One event of a stream."""

    event: str
    data: bytes
    id: str | None = None


Batch = Sequence[Item]
"""Items that are ready together; none: nothing but a sign of life."""


class Streams:
    """Makes streams of events and of log lines."""

    def __init__(self, database: Database, hub: EventHub) -> None:
        self._database = database
        self._hub = hub
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._owners: OrderedDict[str, str | None] = OrderedDict()
        self._looking = asyncio.Lock()

    async def events(
        self, scope: Scope, *, after: str | None, from_now: bool
    ) -> AsyncIterator[Batch]:
        """Events after a position, then new ones as they happen.

        The stream of a job or group ends with an `end` item after its last event; that of all
        goes on until the process stops.
        """
        with self._hub.subscribe(scope.covers) as live:
            async for batch in self._until_ready():
                yield batch
            position = after
            past, ended = True, False
            while not self._hub.stopping:
                try:
                    if position is None:
                        position = await self._first_position(from_now)
                    if past or live.overflowed:
                        live.restart()
                        events = await self._page(scope, position)
                        past = len(events) == _PAGE
                        ended = ended or (not past and await self._has_ended(scope))
                    else:
                        events = live.take(position)
                        ended = ended or (
                            any(scope.ends_with(event) for event in events)
                            and await self._has_ended(scope)
                        )
                    if events:
                        shown = await self._shown(scope, events)
                        position = events[-1].position
                        yield [self._item(event) for event in shown]
                    if ended and not past:
                        end = await self._end(scope, position)
                        if end is not None:
                            yield [end]
                            return
                except DatabaseUnavailable:
                    past = True
                    yield []
                    await asyncio.sleep(_AWAY)
                    continue
                if not events and not past and not await _woken(live.wake):
                    past = not scope.endless  # look at the job itself now and then
                    yield []

    async def logs(
        self, job_id: str, *, since: str | None, tail: int | None, partial: bool = False
    ) -> AsyncIterator[Batch]:
        """Log lines after a cursor (or the last `tail`), then new ones, then an `end` item.

        With `partial`, what there is of a line that has not ended is a `partial` item, each time
        that it changes; a `line` item of the same stream takes its place.
        """
        notified = self._hub.notifier.subscribe(LOG_CHANNEL, job_id)
        with self._hub.subscribe(OfJob(job_id).covers) as live, notified as changed:
            async for batch in self._until_ready():
                yield batch
            cursor, told_at = since, -LOOKS_EVERY
            shown: list[StoredLine] = []
            while not self._hub.stopping:
                changed.clear()
                live.restart()
                live.wake.clear()
                try:
                    now = asyncio.get_running_loop().time()
                    if now - told_at >= LOOKS_EVERY:
                        await self._look(job_id)
                        told_at = now
                    if tail is not None and cursor is None:
                        lines, cursor = await self._tail(job_id, tail)
                        tail = None
                        yield [_line_item(line) for line in lines]
                    state, lines, begun = await self._lines(job_id, cursor)
                except DatabaseUnavailable:
                    yield []
                    await asyncio.sleep(_AWAY)
                    continue
                if lines:
                    cursor = lines[-1].cursor
                    yield [_line_item(line) for line in lines]
                if len(lines) == _PAGE or self._hub.stopping:
                    continue
                if partial and (changes := _changes(begun, shown)):
                    yield [_line_item(line) for line in changes]
                shown = begun
                if state["state"] in TERMINAL_JOB_STATES:
                    yield [_end_item(state, cursor)]
                    return
                if not await _woken(changed, live.wake):
                    yield []

    async def _until_ready(self) -> AsyncIterator[Batch]:
        """Signs of life until the hub reads; the database may be away."""
        while not self._hub.stopping:
            try:
                await asyncio.wait_for(self._hub.ready(), 5.0)
                return
            except TimeoutError:
                yield []

    async def _first_position(self, from_now: bool) -> str:
        if not from_now:
            return _START
        async with self._database.reading() as tx:
            return await tx.events.latest()

    async def _page(self, scope: Scope, after: str) -> list[Event]:
        async with self._database.reading() as tx:
            return await scope.page(tx, after, _PAGE)

    async def _shown(self, scope: Scope, events: list[Event]) -> list[Event]:
        if scope.projects is None:
            return events
        owners = await self._owners_of(events)
        return [event for event in events if owners[event.id] in scope.projects]

    async def _owners_of(self, events: list[Event]) -> Mapping[str, str | None]:
        """The projects of events: one look for all streams that get the same ones at once."""
        if all(event.id in self._owners for event in events):
            return {event.id: self._owners[event.id] for event in events}
        async with self._looking:
            known = {event.id: self._owners.get(event.id) for event in events}
            unknown = [event for event in events if event.id not in self._owners]
            if unknown:
                async with self._database.reading() as tx:
                    known |= await tx.events.projects(unknown)
                _keep(self._owners, known)
        return known

    def _item(self, event: Event) -> Item:
        """An event as all streams send it: made once, however many they are."""
        item = self._items.get(event.id)
        if item is None:
            item = _event_item(event)
            _keep(self._items, {event.id: item})
        return item

    async def _has_ended(self, scope: Scope) -> bool:
        async with self._database.reading() as tx:
            return await scope.end(tx) is not None

    async def _end(self, scope: Scope, position: str) -> Item | None:
        """The `end` item, if the last event was sent.

        A terminal state is written together with its event: whoever sees the one sees the other.
        """
        async with self._database.reading() as tx:
            if await scope.goes_on(tx, position):
                return None
            state = await scope.end(tx)
            return None if state is None else _end_item(state, position)

    async def _look(self, job_id: str) -> None:
        async with self._database.statement() as tx:
            await tx.logs.looked_at(job_id)

    async def _tail(self, job_id: str, count: int) -> tuple[list[StoredLine], str | None]:
        async with self._database.reading() as tx:
            lines = await tx.logs.tail(job_id, max(count, 1))
        return lines if count else [], lines[-1].cursor if lines else None

    async def _lines(
        self, job_id: str, cursor: str | None
    ) -> tuple[Mapping[str, Any], list[StoredLine], list[StoredLine]]:
        # The state first: a job that has ended writes no more lines.
        async with self._database.reading() as tx:
            state = await tx.reads.state(job_id)
            lines = await tx.logs.read(job_id, since=cursor, limit=_PAGE)
            place = lines[-1].cursor if lines else cursor or "0:0"
            return state, lines, await tx.logs.open_lines(job_id, place)


async def _woken(*events: asyncio.Event) -> bool:
    """Wait for any of the events; False after `KEEP_ALIVE` seconds without."""
    if len(events) == 1:  # no task is needed beside the stream's own: there may be thousands
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                return await events[0].wait()
        except TimeoutError:
            return False
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for wait in waits:
            wait.cancel()


def _keep(kept: OrderedDict[str, T], more: Mapping[str, T]) -> None:
    """As the newest of a bounded number; those that are given are kept, however many."""
    kept.update(more)
    while len(kept) > max(_REMEMBERED, len(more)):
        kept.popitem(last=False)


def _event_item(event: Event) -> Item:
    view = event_view(event)
    return Item(event=view.type, data=view.model_dump_json().encode(), id=event.position)


def _line_item(line: StoredLine) -> Item:
    data = log_entry(line).model_dump_json().encode()
    if line.partial:
        return Item(event="partial", data=data)
    return Item(event="line", data=data, id=line.cursor)


def _changes(begun: list[StoredLine], shown: list[StoredLine]) -> list[StoredLine]:
    known = {(line.stream, line.time, line.text) for line in shown}
    return [line for line in begun if (line.stream, line.time, line.text) not in known]


def _end_item(state: Mapping[str, Any], position: str | None) -> Item:
    shown = {name: state[name] for name in _SHOWN if name in state}
    return Item(event="end", data=render(shown), id=position)
