"""Tells Temporal at once what was just committed; what does not get through stays for the relay."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import Client

from cortex.db.engine import Database
from cortex.db.outbox.commands import Command
from cortex.domain.errors import CortexError
from cortex.domain.jobs import Job
from cortex.settings import JobSettings
from cortex.tasks import end_tasks
from cortex.temporal.outbox.deliver import deliver

HEAD_START: Final = timedelta(seconds=2)
"""How long the relay leaves a command to the process that wrote it."""

_WORKERS: Final = 4
_WAITING: Final = 200
_FLUSH_SECONDS: Final = 0.1
_PAUSE_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Delivery:
    """A committed command, and the job as it was then."""

    command: Command
    job: Job


class Dispatcher:
    """A bounded background queue of deliveries. Losing any of them costs only the head start."""

    def __init__(self, database: Database, client: Client, settings: JobSettings) -> None:
        self._database = database
        self._client = client
        self._settings = settings
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue(_WAITING)
        self._delivered: list[int] = []
        self._away_until = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to deliver."""
        self._tasks = [
            asyncio.create_task(self._work(), name=f"dispatcher-{number}")
            for number in range(_WORKERS)
        ]
        self._tasks.append(asyncio.create_task(self._flush_always(), name="dispatcher-flush"))

    async def aclose(self) -> None:
        """Stop, and mark what was delivered."""
        await end_tasks(self._tasks)
        await self._flush()

    def has_room(self, count: int = 1) -> bool:
        """Whether so many more can be delivered soon; if not, leave them to the relay."""
        waits = self._queue.qsize() + count
        return waits <= _WAITING and time.monotonic() >= self._away_until

    def offer(self, delivery: Delivery) -> None:
        """Deliver soon, or leave it to the relay when there is too much to do."""
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(delivery)

    async def _work(self) -> None:
        while True:
            delivery = await self._queue.get()
            try:
                await deliver(self._client, delivery.command, delivery.job, self._settings)
                self._delivered.append(delivery.command.id)
            except CortexError as error:
                self._leave_to_relay(error)
            except Exception:
                _log.exception("delivery.failed", job=delivery.job.id)

    def _leave_to_relay(self, error: CortexError) -> None:
        """Temporal is away: spare us the attempts for a while."""
        now = time.monotonic()
        if now >= self._away_until:
            _log.info("delivery.left_to_relay", why=error.detail)
        self._away_until = now + _PAUSE_SECONDS

    async def _flush_always(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        """Mark delivered commands together: one transaction for many."""
        if not self._delivered:
            return
        ids, self._delivered = self._delivered, []
        try:
            async with self._database.transaction() as tx:
                await tx.commands.done(ids)
        except CortexError as error:
            _log.info("delivery.not_marked", commands=len(ids), why=error.detail)


class LeftToRelay(Dispatcher):
    """Delivers nothing: for a process that runs the relay itself."""

    def has_room(self, count: int = 1) -> bool:
        """There is none: the relay takes what was committed at once."""
        return False

    def offer(self, delivery: Delivery) -> None:
        """Leave it to the relay."""
