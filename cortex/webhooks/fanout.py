"""Makes a delivery of each event for each webhook that wants it, as events happen."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import structlog

from cortex.db.engine import Database, Transaction
from cortex.db.notify import Notifier, wait_event
from cortex.db.outbox import events
from cortex.db.webhooks.fanout import Happened, Listening, Position
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.webhooks import is_visible, wants

_PAGE: Final = 500
# Events of one moment are taken together: a job has dozens of them.
_GATHER: Final = 0.05
# One that is still hidden behind an older transaction is looked for again.
_HIDDEN: Final = 0.1
# Of others' rounds, and of events whose announcement got lost.
_TAKEN: Final = 0.5
_IDLE: Final = 30.0
_UNWANTED: Final = 60.0
_AWAY: Final = 1.0

_log = structlog.get_logger(__name__)


class Fanout:
    """Runs while any webhook is enabled; listens for events only then."""

    def __init__(
        self, database: Database, notifier: Notifier, channel: str, queued: Callable[[], None]
    ) -> None:
        """`notifier` tells of changed webhooks by `channel`; `queued` is called for deliveries."""
        self._database = database
        self._notifier = notifier
        self._channel = channel
        self._queued = queued

    async def run(self) -> None:
        """Until it is cancelled."""
        with self._notifier.subscribe(self._channel) as changed:
            while True:
                changed.clear()
                if await self._round_or_wait() is None:
                    await wait_event(changed, _UNWANTED)
                else:
                    await self._while_wanted(changed)

    async def round(self) -> float | None:
        """Hand out what there is.

        How many seconds to wait for more, unless something is told; None: nobody wants any.
        """
        async with self._database.reading() as tx:
            state = await tx.fanout.behind()
        if not state.wanted:
            return None
        if not state.behind:
            return _IDLE
        async with self._database.transaction() as tx:
            if not await tx.fanout.alone():
                return _TAKEN
            places: dict[Position, list[Listening]] = defaultdict(list)
            for webhook in await tx.fanout.listening():
                places[webhook.position].append(webhook)
            waits = [
                await self._hand_out(tx, place, webhooks) for place, webhooks in places.items()
            ]
        self._queued()
        return min(waits, default=_IDLE)

    async def _hand_out(self, tx: Transaction, place: Position, webhooks: list[Listening]) -> float:
        """Give webhooks that are at the same place the events behind it."""
        page = await tx.fanout.page(place, _PAGE)
        settled = [event for event in page if event.settled]
        if not settled:
            return _HIDDEN if page else _IDLE
        for webhook in webhooks:
            wanted = [event for event in settled if _is_for(webhook, event)]
            if wanted:
                await tx.fanout.queue(webhook.id, wanted)
        await tx.fanout.move([webhook.id for webhook in webhooks], settled[-1].position)
        if len(settled) < len(page):
            return _HIDDEN
        return 0.0 if len(page) == _PAGE else _GATHER

    async def _while_wanted(self, changed: asyncio.Event) -> None:
        listening = Notifier(self._database.settings, (events.CHANNEL,))
        await listening.start()
        try:
            with listening.subscribe(events.CHANNEL) as happened:
                while (wait := await self._round_or_wait()) is not None:
                    if wait < _IDLE:
                        await asyncio.sleep(wait)
                        continue
                    await _either(happened, changed, wait)
                    await asyncio.sleep(_GATHER)
                    happened.clear()
                    changed.clear()
        finally:
            await listening.aclose()

    async def _round_or_wait(self) -> float | None:
        try:
            return await self.round()
        except DatabaseUnavailable as error:
            _log.warning("webhooks.database_away", error=error.detail)
        except Exception:  # a bug of ours: no reason to be deaf for ever
            _log.exception("webhooks.fanout_bug")
        return _AWAY


def _is_for(webhook: Listening, event: Happened) -> bool:
    visible = is_visible(
        webhook.reach, webhook.owner, webhook.projects, event.subject, webhook.project
    )
    return visible and wants(webhook.events, webhook.jobs, event.type, event.subject)


async def _either(one: asyncio.Event, other: asyncio.Event, timeout: float) -> None:
    """Wait until one of them is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
