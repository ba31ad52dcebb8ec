"""Sends deliveries: in order within a job, several at once otherwise, again if one fails.

A delivery is claimed for a while, sent, and its end written down. A worker that dies in between
lets the claim run out: another sends it again, with the same id.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
import structlog

from cortex.db.engine import Database, Transaction
from cortex.db.notify import Notifier, wait_event
from cortex.db.webhooks.deliveries import ClaimedDelivery
from cortex.domain.errors import CortexError, DatabaseUnavailable
from cortex.domain.events import EventType
from cortex.domain.webhooks import Attempt, DeliveryState, is_visible, pause
from cortex.security.keyring import KeyRing
from cortex.services.views import event_view
from cortex.settings import WebhookSettings
from cortex.tasks import end_tasks
from cortex.webhooks.secrets import WebhookSecrets
from cortex.webhooks.sending import GONE, Answer, Message, Sender

# A delivery that another worker has made due, and then died.
_PENDING: Final = 5.0
_IDLE: Final = 60.0
_AWAY: Final = 0.5
# Of a claim, for what is done besides waiting for the receiver.
_SLACK: Final = timedelta(seconds=15)
# Whoever ends a worker waits so long for it anyway.
_FINISH: Final = 4.0
# So many in a row mean that the receiver was away, and not that one event displeased it.
_AN_OUTAGE: Final = 3

_log = structlog.get_logger(__name__)


class Deliverer:
    """Sends what is due, from one worker."""

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        sender: Sender,
        settings: WebhookSettings,
        *,
        lease: timedelta | None = None,
    ) -> None:
        """`lease`: when a claim counts as lost; by default long after the time-out."""
        self._database = database
        self._keyring = keyring
        self._sender = sender
        self._settings = settings
        self._lease = settings.timeout + _SLACK if lease is None else lease
        self._chance = random.Random()
        self._wake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], str] = {}

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

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
        counts = Counter(self._sending.values())
        full = [name for name, count in counts.items() if count >= self._settings.per_webhook]
        room = self._settings.at_once - len(self._sending)
        async with self._database.reading() as tx:
            due = await tx.deliveries.due(full)
        if due.now and room > 0:
            async with self._database.transaction() as tx:
                claimed = await tx.deliveries.claim(
                    os.urandom(8).hex(),
                    self._lease,
                    limit=room,
                    each=self._settings.per_webhook,
                    full=full,
                )
            for delivery in claimed:
                task = asyncio.create_task(self._send(delivery), name=f"webhook-{delivery.id}")
                self._sending[task] = delivery.webhook_id
                task.add_done_callback(self._done)
            if claimed:
                return 0.0
        if due.next_in is not None:
            return min(max(due.next_in.total_seconds(), 0.0), _PENDING)
        return _PENDING if due.now or self._sending else _IDLE

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
        self._sending.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("webhooks.deliverer_bug", exc_info=task.exception())
        self._wake.set()

    async def _round_or_wait(self) -> float:
        try:
            return await self.round()
        except DatabaseUnavailable as error:
            _log.warning("webhooks.database_away", error=error.detail)
        except Exception:  # a bug of ours: no reason to be silent for ever
            _log.exception("webhooks.deliverer_bug")
        return _AWAY

    async def _send(self, delivery: ClaimedDelivery) -> None:
        deadline = asyncio.get_running_loop().time() + self._lease.total_seconds()
        answer, final = await self._tried(delivery)
        while True:
            try:
                async with self._database.transaction() as tx:
                    await self._write(tx, delivery, answer, final=final)
                return
            except DatabaseUnavailable as error:
                # Once the claim is over the delivery is somebody else's, who sends it again.
                if asyncio.get_running_loop().time() > deadline:
                    _log.warning("webhooks.unwritten", delivery=delivery.id, error=error.detail)
                    return
                await asyncio.sleep(_AWAY)

    async def _tried(self, delivery: ClaimedDelivery) -> tuple[Answer, bool]:
        """What came of it, and whether another attempt would be in vain."""
        nothing = Answer(time=datetime.now(UTC), seconds=0.0)
        if not delivery.is_ping:
            if delivery.event is None:
                return replace(nothing, error="the event is not kept any more"), True
            if not is_visible(
                delivery.reach,
                delivery.owner,
                delivery.projects,
                delivery.subject,
                delivery.project,
            ):
                return replace(nothing, error="its owner may not see the event any more"), True
        try:
            secrets = WebhookSecrets.opened(self._keyring, delivery.sealed, delivery.webhook_id)
        except CortexError as error:
            _log.error("webhooks.sealed", webhook=delivery.webhook_id, error=error.detail)
            return replace(nothing, error="its secret cannot be decrypted by the worker"), False
        keys = [secrets.secret]
        if secrets.previous is not None and delivery.overlap:
            keys.append(secrets.previous)
        message = Message(
            id=delivery.id,
            url=delivery.url,
            body=_body(delivery),
            secrets=tuple(keys),
            headers=secrets.headers,
        )
        return await self._sender.send(message), False

    async def _write(
        self, tx: Transaction, delivery: ClaimedDelivery, answer: Answer, *, final: bool
    ) -> None:
        health = await tx.deliveries.lock(delivery)
        if health is None:
            return
        attempt = Attempt(
            time=answer.time,
            status=answer.status,
            error=answer.error,
            body=answer.body,
            seconds=answer.seconds,
        )
        if answer.taken:
            if not await tx.deliveries.end(delivery, attempt, DeliveryState.DELIVERED):
                return
            if health.failures >= _AN_OUTAGE or (health.failures and delivery.is_ping):
                await tx.deliveries.hurry(delivery.webhook_id)
            if health.failures and not delivery.is_ping:
                await tx.deliveries.well(delivery.webhook_id)
            return
        gone = answer.status == GONE
        over = final or delivery.is_ping or self._is_over(delivery, gone=gone)
        state = DeliveryState.DEAD if over else DeliveryState.PENDING
        wait = timedelta(0) if gone else self._wait(delivery, answer)
        if not await tx.deliveries.end(delivery, attempt, state, wait=wait):
            return
        if final or delivery.is_ping:
            return
        await tx.deliveries.ill(delivery.webhook_id)
        failing_for = health.failing_for or timedelta(0)
        if gone:
            await _disable(tx, delivery, "its receiver answered 410: it is gone")
        elif health.failures and failing_for >= self._settings.disable_after:
            await _disable(tx, delivery, f"nothing was taken any more: {answer.error}")

    def _is_over(self, delivery: ClaimedDelivery, *, gone: bool) -> bool:
        return delivery.age >= self._settings.give_up_after and not gone

    def _wait(self, delivery: ClaimedDelivery, answer: Answer) -> timedelta:
        """Until the next attempt: the pause, or what the receiver asks for if that is longer."""
        limits = self._settings
        usual = pause(delivery.attempts + 1, limits.first_wait, limits.longest_wait, self._chance)
        asked = answer.retry_after or timedelta(0)
        return max(usual, min(asked, limits.longest_wait))


async def _disable(tx: Transaction, delivery: ClaimedDelivery, reason: str) -> None:
    if not await tx.webhooks.disable(delivery.webhook_id, reason):
        return
    data = {"owner": delivery.owner, "message": reason}
    await tx.events.add(EventType.WEBHOOK_DISABLED, delivery.webhook_id, data=data)


def _body(delivery: ClaimedDelivery) -> bytes:
    """The envelope, as REST and streams give it."""
    if delivery.event is None:
        return orjson.dumps(delivery.body)
    return event_view(delivery.event).model_dump_json().encode()
