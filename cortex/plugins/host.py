"""The plugins of one worker: started, reported to the database, handed their events."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime

import structlog

from cortex.db.engine import Database
from cortex.db.notify import Notifier
from cortex.db.plugins import StoredPlugin
from cortex.domain.errors import DatabaseUnavailable
from cortex.plugins.loading import Loaded, sentence
from cortex.plugins.runner import Handout, worker_name
from cortex.plugins.subscribers import Subscriber, subscribers_of
from cortex.settings import PluginDeliverySettings
from cortex.tasks import end_tasks

_log = structlog.get_logger(__name__)
_REPORT_EVERY = 30.0
_LONGEST_WAIT = 60.0


class PluginHost:
    """Runs every plugin that could be loaded; each in tasks of its own."""

    def __init__(
        self,
        plugins: Sequence[Loaded],
        database: Database,
        notifier: Notifier,
        settings: PluginDeliverySettings,
    ) -> None:
        self._plugins = plugins
        self._database = database
        self._notifier = notifier
        self._settings = settings
        self._owner = worker_name()
        self._problems = {loaded.name: loaded.problem for loaded in plugins}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once, whatever a plugin does."""
        if not self._plugins:
            return
        self._spawn(self._keep_reporting(), "plugins-report")
        for loaded in self._plugins:
            if loaded.plugin is not None:
                self._spawn(self._run(loaded), f"plugin-{loaded.name}")

    async def aclose(self) -> None:
        """Stop handing out events, then close the plugins."""
        await end_tasks(self._tasks)
        for loaded in self._plugins:
            if loaded.plugin is not None:
                try:
                    async with asyncio.timeout(self._settings.timeout.total_seconds()):
                        await loaded.plugin.aclose()
                except Exception as error:
                    _log.warning("plugin.close_failed", plugin=loaded.name, error=sentence(error))

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _run(self, loaded: Loaded) -> None:
        await self._started(loaded)
        subscribers = subscribers_of(loaded)
        await self._subscribed(loaded, subscribers)
        handouts = (
            Handout(each, self._database, self._notifier, self._settings, self._owner)
            for each in subscribers
        )
        async with asyncio.TaskGroup() as group:
            for handout in handouts:
                group.create_task(handout.run())

    async def _started(self, loaded: Loaded) -> None:
        """Start the plugin; while it cannot, say why and try again."""
        assert loaded.plugin is not None
        wait = self._settings.first_wait.total_seconds()
        while True:
            try:
                async with asyncio.timeout(self._settings.timeout.total_seconds()):
                    await loaded.plugin.start()
            except Exception as error:
                why = f"it cannot start: {sentence(error)}"
                _log.warning("plugin.start_failed", plugin=loaded.name, error=why)
                self._problems[loaded.name] = why
                await self._report_or_wait()
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            self._problems[loaded.name] = ""
            await self._report_or_wait()
            return

    async def _subscribed(self, loaded: Loaded, subscribers: Sequence[Subscriber]) -> None:
        """Each has a cursor: a new one begins with what happens from now on, or with all."""
        while True:
            try:
                async with self._database.transaction() as tx:
                    latest = await tx.events.latest()
                    for each in subscribers:
                        position = "0-0" if each.from_start else latest
                        await tx.plugins.subscribe(each.id, loaded.name, position)
            except DatabaseUnavailable:
                await asyncio.sleep(1)
                continue
            return

    async def _keep_reporting(self) -> None:
        while True:
            await self._report_or_wait()
            await asyncio.sleep(_REPORT_EVERY)

    async def _report_or_wait(self) -> None:
        with contextlib.suppress(DatabaseUnavailable):
            async with self._database.transaction() as tx:
                for loaded in self._plugins:
                    await tx.plugins.report(self._stored(loaded))

    def _stored(self, loaded: Loaded) -> StoredPlugin:
        return StoredPlugin(
            name=loaded.name,
            package=loaded.package,
            version=loaded.version,
            strategies=tuple(strategy.name for strategy in loaded.strategies),
            channels=tuple(channel.name for channel in loaded.channels),
            problem=self._problems[loaded.name],
            updated_at=datetime.now(UTC),
        )
