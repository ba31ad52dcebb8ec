"""Sends messages to persons: each again until it is taken, refused for good, or too late.

A message is claimed for a while, sent, and its end written down. A worker that dies in between
lets the claim run out: another sends it again, with the same `Message-ID`.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

import structlog

from cortex import faultpoints
from cortex.db.engine import Database, Transaction
from cortex.db.messages import ClaimedMessage
from cortex.db.notify import Notifier, wait_event
from cortex.domain.errors import CortexError, DatabaseUnavailable
from cortex.domain.links import without_links
from cortex.domain.messages import Channel, Content, MessageKind, MessageState
from cortex.domain.rights import Principal, Role
from cortex.domain.webhooks import pause
from cortex.notices.smtp import words
from cortex.security.keyring import KeyRing
from cortex.security.places import message_place
from cortex.settings import NoticeSettings
from cortex.tasks import end_tasks

LIMIT: Final = 60.0
"""Seconds that one attempt may take."""
_LEASE: Final = timedelta(seconds=LIMIT + 30)
_IDLE: Final = 60.0
_AWAY: Final = 0.5
_FINISH: Final = 4.0
_CORTEX: Final = Principal(name="cortex", role=Role.ADMIN)
_ACTIONS: Final = {
    MessageKind.INVITATION: "user.invite",
    MessageKind.RESET: "user.invite",
}
"""What is audited when such a message does not arrive."""

Send = Callable[[ClaimedMessage, Content], Awaitable[None]]
"""Hands one message over.

Raises:
    TryAgain: it was not taken, and may be later.
    Exception: it is refused for good.
"""

_log = structlog.get_logger(__name__)


class TryAgain(Exception):
    """It was not taken; the text says why."""


class MessageDeliverer:
    """Sends what is due, from one worker."""

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        channels: Mapping[Channel, Send],
        settings: NoticeSettings,
        *,
        lease: timedelta = _LEASE,
    ) -> None:
        """`lease`: when a claim counts as lost."""
        self._database = database
        self._keyring = keyring
        self._channels = channels
        self._settings = settings
        self._lease = lease
        self._chance = random.Random()
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self, notifier: Notifier, channel: str) -> None:
        """Until it is cancelled; what is under way then is sent again by somebody."""
        with notifier.subscribe(channel) as told:
            self._wake = told
            try:
                while True:
                    told.clear()
                    await wait_event(told, await self._round_or_wait())
            finally:
                await self._finish()

    async def round(self) -> float:
        """Begin to send what is due; how many seconds to wait for more."""
        room = self._settings.at_once - len(self._sending)
        async with self._database.reading() as tx:
            next_in = await tx.messages.next_in()
        if next_in is None:
            return _IDLE
        wait = next_in.total_seconds()
        if wait > 0 or room <= 0:
            return min(max(wait, _AWAY), _IDLE)
        async with self._database.transaction() as tx:
            claimed = await tx.messages.claim(os.urandom(8).hex(), self._lease, limit=room)
        for message in claimed:
            task = asyncio.create_task(self._send(message), name=f"message-{message.id}")
            self._sending.add(task)
            task.add_done_callback(self._done)
        return 0.0 if claimed else _AWAY

    async def idle(self) -> None:
        """Wait until nothing is under way any more."""
        while self._sending:
            await asyncio.wait(self._sending)

    async def _finish(self) -> None:
        """What is quick is written down; the rest comes again when its claim has ended."""
        with contextlib.suppress(asyncio.CancelledError):
            if self._sending:
                await asyncio.wait(self._sending, timeout=_FINISH)
        await end_tasks(self._sending)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("notices.deliverer_bug", exc_info=task.exception())
        self._wake.set()

    async def _round_or_wait(self) -> float:
        try:
            return await self.round()
        except DatabaseUnavailable as error:
            _log.warning("notices.database_away", error=error.detail)
        except Exception:  # a bug of ours: no reason to be silent for ever
            _log.exception("notices.deliverer_bug")
        return _AWAY

    async def _send(self, message: ClaimedMessage) -> None:
        deadline = asyncio.get_running_loop().time() + self._lease.total_seconds()
        state, error = await self._tried(message)
        while True:
            try:
                async with self._database.transaction() as tx:
                    await self._write(tx, message, state, error)
                return
            except DatabaseUnavailable as away:
                # Once the claim is over the message is somebody else's, who sends it again.
                if asyncio.get_running_loop().time() > deadline:
                    _log.warning("notices.unwritten", message=message.id, error=away.detail)
                    return
                await asyncio.sleep(_AWAY)

    async def _tried(self, message: ClaimedMessage) -> tuple[MessageState, str]:
        """What came of it, and why it was not taken."""
        if message.late:
            return MessageState.DEAD, "nobody took it in time"
        try:
            given = self._keyring.decrypt(message.sealed, message_place(message.id))
        except CortexError as error:
            _log.error("notices.sealed", message=message.id, error=error.detail)
            return MessageState.PENDING, "it cannot be decrypted by the worker"
        send = self._channels.get(message.channel)
        if send is None:
            return MessageState.PENDING, f"the worker has no channel `{message.channel}`"
        try:
            async with asyncio.timeout(LIMIT):
                faultpoints.passed("socket", "before message")
                await send(message, Content.of(given))
                faultpoints.passed("socket", "after message")
        except TimeoutError:
            return MessageState.PENDING, f"it was not taken within {LIMIT:g} s"
        except TryAgain as away:
            return MessageState.PENDING, without_links(str(away))
        except Exception as error:  # a library's, or what the server answers
            return MessageState.DEAD, without_links(words(error))
        return MessageState.SENT, ""

    async def _write(
        self, tx: Transaction, message: ClaimedMessage, state: MessageState, error: str
    ) -> None:
        if state is MessageState.PENDING:
            limits = self._settings
            wait = pause(message.attempts + 1, limits.first_wait, limits.longest_wait, self._chance)
            if await tx.messages.again(message, wait, error):
                _log.info("notices.again", message=message.id, error=error)
            return
        if not await tx.messages.end(message, state, error) or state is MessageState.SENT:
            return
        _log.warning(
            "notices.dead",
            message=message.id,
            kind=message.kind.value,
            recipient=message.recipient,
            error=error,
        )
        action = _ACTIONS.get(message.kind)
        if action is not None:
            after = {"kind": message.kind.value, "undelivered": error}
            await tx.audit.add(_CORTEX, action, message.recipient, before={}, after=after)
