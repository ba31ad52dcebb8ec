"""Hands events to plugins: at least once, in order, from a cursor that a restart finds again.

One worker at a time has a subscriber (a claim with an end in the database). A subscriber that does
not take an event gets it again after a pause, up to `tries` times; then the event is written down
as skipped and the next one follows. One whose receiver is `Away` gets it again without a limit.
So one that always fails is late, but holds up nobody else: each subscriber has a task and a cursor
of its own.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from cortex.db.engine import Database
from cortex.db.notify import Notifier, wait_event
from cortex.db.outbox import events
from cortex.db.plugins import Claimed, Progress
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.events import Event
from cortex.plugins.contract import Away
from cortex.plugins.loading import sentence
from cortex.plugins.subscribers import Subscriber, take_within
from cortex.settings import PluginDeliverySettings

_log = structlog.get_logger(__name__)
_BATCH = 100
# Events become visible a moment after they are announced, while older transactions run.
_IDLE = 1.0
# Another worker has the subscriber: look again later.
_TAKEN = 5.0


def worker_name() -> str:
    """A name that no other worker has."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


@dataclass
class _Turn:
    """One claim at work: what is done and not yet written down."""

    done: Progress
    written_at: float


@dataclass(frozen=True)
class _Refusal:
    """Why an event was not taken; `away`: no event would have been."""

    error: str
    away: bool


class Handout:
    """Runs one subscriber."""

    def __init__(
        self,
        subscriber: Subscriber,
        database: Database,
        notifier: Notifier,
        settings: PluginDeliverySettings,
        owner: str,
    ) -> None:
        self._subscriber = subscriber
        self._database = database
        self._notifier = notifier
        self._settings = settings
        self._owner = owner
        self._timeout = subscriber.timeout or settings.timeout
        # One event must fit into the half of a claim, so that it never ends unnoticed.
        self._ttl = max(timedelta(seconds=30), 3 * self._timeout)
        # Tries in vain while the receiver is away: they make the pauses longer, and skip nothing.
        self._away = 0

    async def run(self) -> None:
        """Until it is cancelled; then another worker may have it at once."""
        try:
            with self._notifier.subscribe(events.CHANNEL) as woken:
                while True:
                    wait = await self._round_or_wait()
                    if wait:
                        await wait_event(woken, wait)
        finally:
            with contextlib.suppress(Exception):
                async with self._database.transaction() as tx:
                    await tx.plugins.release(self._subscriber.id, self._owner)

    async def round(self) -> float:
        """Hand out what is there; how many seconds to wait for more."""
        claim = await self._claim()
        if claim is None:
            return _TAKEN
        if claim.retry_in:
            return claim.retry_in.total_seconds()
        async with self._database.transaction() as tx:
            events = await tx.events.page(claim.position, limit=_BATCH)
        if not events:
            return _IDLE
        return await self._hand_out(claim, events)

    async def _round_or_wait(self) -> float:
        try:
            return await self.round()
        except DatabaseUnavailable as error:
            _log.warning("plugin.database_away", error=error.detail)
        except Exception:  # a bug of ours; the others go on, and so does this one
            _log.exception("plugin.handout_bug", subscriber=self._subscriber.id)
        return _IDLE

    async def _claim(self) -> Claimed | None:
        async with self._database.transaction() as tx:
            return await tx.plugins.claim(self._subscriber.id, self._owner, self._ttl)

    async def _hand_out(self, claim: Claimed, events: Sequence[Event]) -> float:
        loop = asyncio.get_running_loop()
        turn = _Turn(Progress(claim.position), loop.time())
        attempts = claim.attempts
        for event in events:
            if self._subscriber.wants(event):
                refusal = await self._try(event)
                if refusal is not None:
                    return await self._failed(turn, event, attempts, refusal)
                self._away = 0
                turn.done = replace(turn.done, delivered=turn.done.delivered + 1)
            attempts = 0
            turn.done = replace(turn.done, position=event.position)
            late = loop.time() - turn.written_at > self._ttl.total_seconds() / 4
            if late and not await self._write(turn):
                return _TAKEN
        return 0.0 if await self._write(turn) else _TAKEN

    async def _try(self, event: Event) -> _Refusal | None:
        """Why it was not taken; None if it was."""
        try:
            await take_within(self._subscriber, event, self._timeout.total_seconds())
        except Exception as error:  # a plugin's: whatever it is, the others go on
            _log.warning(
                "plugin.raised",
                subscriber=self._subscriber.id,
                event_id=event.id,
                event_type=event.type.value,
                error=sentence(error),
                exc_info=not isinstance(error, Away),
            )
            return _Refusal(sentence(error), isinstance(error, Away))
        return None

    async def _failed(self, turn: _Turn, event: Event, attempts: int, refusal: _Refusal) -> float:
        error = refusal.error
        if refusal.away:
            self._away += 1
            pause = self._pause(self._away)
            turn.done = replace(turn.done, attempts=attempts, error=error, retry_in=pause)
            return pause.total_seconds() if await self._write(turn) else _TAKEN
        tries = attempts + 1
        if tries >= self._settings.tries:
            _log.error(
                "plugin.skipped",
                subscriber=self._subscriber.id,
                event_id=event.id,
                tries=tries,
                error=error,
            )
            turn.done = replace(
                turn.done, position=event.position, error=error, skipped=event, tries=tries
            )
            return 0.0 if await self._write(turn) else _TAKEN
        pause = self._pause(tries)
        turn.done = replace(turn.done, attempts=tries, error=error, retry_in=pause)
        return pause.total_seconds() if await self._write(turn) else _TAKEN

    def _pause(self, tries: int) -> timedelta:
        limits = self._settings
        return min(limits.first_wait * (1 << min(tries - 1, 20)), limits.longest_wait)

    async def _write(self, turn: _Turn) -> bool:
        """Write down what is done; false if the claim is another worker's by now."""
        async with self._database.transaction() as tx:
            kept = await tx.plugins.progress(self._subscriber.id, self._owner, self._ttl, turn.done)
        turn.done = Progress(turn.done.position)
        turn.written_at = asyncio.get_running_loop().time()
        return kept
