"""The relay: delivers commands that nobody delivered yet, as soon as Temporal answers."""

import asyncio
from datetime import timedelta

import structlog
from temporalio.client import Client

from cortex.db.engine import Database
from cortex.db.notify import Notifier, wait_event
from cortex.db.outbox.commands import CHANNEL, Command
from cortex.domain.errors import CortexError, DatabaseUnavailable
from cortex.settings import JobSettings
from cortex.tasks import end_task
from cortex.temporal.outbox.deliver import ScheduleNow, Subject, deliver

_log = structlog.get_logger(__name__)
_BATCH = 50
_AT_ONCE = 10
_CLAIM = timedelta(seconds=15)
_IDLE = 1.0
# Wake-ups that come in a row are taken together.
_BREATH = 0.1
_SLOWEST = timedelta(seconds=15)


class Relay:
    """Runs in every worker; several share the work through row locks."""

    def __init__(
        self, database: Database, client: Client, notifier: Notifier, settings: JobSettings
    ) -> None:
        self._database = database
        self._client = client
        self._notifier = notifier
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="relay")

    async def aclose(self) -> None:
        if self._task is not None:
            await end_task(self._task)

    async def _run(self) -> None:
        with self._notifier.subscribe(CHANNEL) as woken:
            while True:
                try:
                    busy = await self.deliver_due()
                except DatabaseUnavailable as error:
                    _log.warning("relay.database_away", error=error.detail)
                    busy = 0
                except Exception:
                    _log.exception("relay.bug")
                    busy = 0
                # A delivered start makes the next command of its job due: look again at once.
                if not busy:
                    await asyncio.sleep(_BREATH)
                    await wait_event(woken, _IDLE)

    async def deliver_due(self) -> int:
        """One round; returns how many commands were taken."""
        async with self._database.transaction() as tx:
            commands = await tx.commands.claim(_BATCH, _CLAIM)
            jobs = await tx.jobs.get_many(
                [command.job_id for command in commands if command.job_id]
            )
            groups = [command.group_id for command in commands if command.group_id]
            heads = await tx.groups.heads(groups) if groups else []
            named = [command.schedule_id for command in commands if command.schedule_id]
            schedules = [ScheduleNow(each, await tx.schedules.find(each)) for each in named]
        subjects: list[Subject] = [*jobs, *heads, *schedules]
        by_id = {subject.id: subject for subject in subjects}
        slots = asyncio.Semaphore(_AT_ONCE)
        done = await asyncio.gather(
            *(self._deliver(command, by_id[command.subject], slots) for command in commands)
        )
        delivered = [command_id for command_id in done if command_id is not None]
        if delivered:
            async with self._database.transaction() as tx:
                await tx.commands.done(delivered)
                told = {command.schedule_id for command in commands if command.id in delivered}
                for now in schedules:
                    if now.schedule is not None and now.id in told:
                        await tx.schedules.told(now.id, now.schedule.revision)
        return len(commands)

    async def _deliver(
        self, command: Command, subject: Subject, slots: asyncio.Semaphore
    ) -> int | None:
        async with slots:
            try:
                await deliver(self._client, command, subject, self._settings)
            except CortexError as error:
                await self._put_off(command, error.detail)
                return None
            except Exception as error:
                _log.exception("relay.delivery_bug", subject=subject.id, command=command.kind)
                await self._put_off(command, f"{type(error).__name__}: {error}")
                return None
        return command.id

    async def _put_off(self, command: Command, why: str) -> None:
        wait = min(timedelta(seconds=2 ** min(command.attempts, 4)), _SLOWEST)
        whose = command.subject
        _log.warning("relay.put_off", subject=whose, command=command.kind, error=why)
        async with self._database.transaction() as tx:
            await tx.commands.failed(command, why, wait)
