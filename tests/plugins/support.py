"""Plugins run and looked at as a worker does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from cortex.db.engine import Database
from cortex.db.notify import Notifier
from cortex.db.outbox.events import CHANNEL
from cortex.db.plugins import StoredSubscriber
from cortex.domain.events import EventType
from cortex.plugins import Plugin
from cortex.plugins.host import PluginHost
from cortex.plugins.loading import Loaded
from cortex.settings import PluginDeliverySettings
from tests.support import eventually

QUICK = PluginDeliverySettings(
    tries=3,
    first_wait=timedelta(milliseconds=20),
    longest_wait=timedelta(milliseconds=40),
    timeout=timedelta(seconds=1),
)


async def happen(
    database: Database, *subjects: str, event_type: EventType = EventType.JOB_PROGRESS
) -> None:
    for subject in subjects:
        async with database.transaction() as tx:
            await tx.events.add(event_type, subject, job_id=subject)


async def stored(database: Database, subscriber: str = "notes") -> StoredSubscriber:
    async with database.transaction() as tx:
        return next(each for each in await tx.plugins.subscribers() if each.id == subscriber)


async def subscribed(database: Database, subscriber: str = "notes") -> None:
    async def there() -> bool:
        async with database.transaction() as tx:
            return subscriber in {each.id for each in await tx.plugins.subscribers()}

    await eventually(there, what="the subscription")


@asynccontextmanager
async def hosting(database: Database, **plugins: Plugin[Any]) -> AsyncIterator[None]:
    """As a worker does it."""
    notifier = Notifier(database.settings, (CHANNEL,))
    await notifier.start()
    loaded = [Loaded(name, "some-package", "1.0", plugin) for name, plugin in plugins.items()]
    host = PluginHost(loaded, database, notifier, QUICK)
    await host.start()
    try:
        for name, plugin in plugins.items():
            if plugin.subscribes:
                await subscribed(database, name)
        yield
    finally:
        await host.aclose()
        await notifier.aclose()
