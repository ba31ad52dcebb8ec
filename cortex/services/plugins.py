"""The plugins that workers have reported, and what they add to what a job may ask for."""

import time
from datetime import UTC, datetime
from typing import Final

from cortex.db.engine import Database
from cortex.db.plugins import StoredPlugin, StoredSkip, StoredSubscriber
from cortex.domain.errors import NotFound
from cortex.schemas.plugins import PluginView, SkippedEventView, SubscriberView
from cortex.services.jobs.admission import BUILT_IN
from cortex.services.providers.queries import STALE_AFTER

_FRESH_SECONDS: Final = 2.0
_SHOWN: Final = 20


class PluginDirectory:
    """What the workers reported of their plugins."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._strategies = BUILT_IN
        self._read_at = float("-inf")

    async def strategies(self) -> frozenset[str]:
        """The names that `placement.strategy` may have, at most two seconds old."""
        if time.monotonic() - self._read_at >= _FRESH_SECONDS:
            async with self._database.reading() as tx:
                added = await tx.plugins.strategies(datetime.now(UTC) - STALE_AFTER)
            self._strategies = BUILT_IN | added
            self._read_at = time.monotonic()
        return self._strategies

    async def views(self) -> list[PluginView]:
        """All plugins, each with the newest events that it did not take."""
        async with self._database.transaction() as tx:
            plugins = await tx.plugins.all()
            subscribers = await tx.plugins.subscribers()
            by_plugin = {
                plugin.name: [each for each in subscribers if each.plugin == plugin.name]
                for plugin in plugins
            }
            skipped = {
                name: await tx.plugins.skipped([each.id for each in of_plugin], _SHOWN)
                for name, of_plugin in by_plugin.items()
                if any(each.skipped for each in of_plugin)
            }
        now = datetime.now(UTC)
        return [
            _view(plugin, by_plugin[plugin.name], skipped.get(plugin.name, []), now)
            for plugin in plugins
        ]

    async def view(self, name: str) -> PluginView:
        """One plugin.

        Raises:
            NotFound: no worker has reported one of this name.
        """
        for plugin in await self.views():
            if plugin.name == name:
                return plugin
        raise NotFound(f"there is no plugin `{name[:60]}`")


def _view(
    plugin: StoredPlugin,
    subscribers: list[StoredSubscriber],
    skipped: list[StoredSkip],
    now: datetime,
) -> PluginView:
    status, message = "ok", ""
    failing = [each for each in subscribers if each.error]
    if now - plugin.updated_at > STALE_AFTER:
        status = "absent"
        message = f"no worker has reported it since {plugin.updated_at:%Y-%m-%d %H:%M:%S} UTC"
    elif plugin.problem:
        status, message = "failing", plugin.problem
    elif failing:
        status, message = "failing", failing[0].error
    return PluginView(
        name=plugin.name,
        package=plugin.package,
        version=plugin.version,
        status=status,
        message=message,
        strategies=plugin.strategies,
        channels=plugin.channels,
        subscribers=tuple(_subscriber(each) for each in subscribers),
        skipped=tuple(_skipped(each) for each in skipped),
        updated_at=plugin.updated_at,
    )


def _subscriber(stored: StoredSubscriber) -> SubscriberView:
    return SubscriberView(
        id=stored.id,
        position=stored.position,
        worker=stored.owner,
        delivered=stored.delivered,
        delivered_at=stored.delivered_at,
        skipped=stored.skipped,
        attempts=stored.attempts,
        error=stored.error,
        retry_at=stored.retry_at,
    )


def _skipped(stored: StoredSkip) -> SkippedEventView:
    return SkippedEventView(
        subscriber=stored.subscriber,
        event_id=stored.event_id,
        type=f"cortex.{stored.event_type}",
        subject=stored.subject,
        attempts=stored.attempts,
        error=stored.error,
        time=stored.time,
    )
