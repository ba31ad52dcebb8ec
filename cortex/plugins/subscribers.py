"""Who is handed events: plugins that listen, and notification channels."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from cortex.domain.events import Event
from cortex.plugins.contract import NotificationChannel, Plugin
from cortex.plugins.loading import Loaded
from cortex.plugins.notifications import notification_of


class Subscriber(Protocol):
    """One cursor in the stream of events."""

    @property
    def id(self) -> str:
        """Its name in the database: it must stay the same for ever."""

    @property
    def from_start(self) -> bool:
        """Whether a new one gets all that happened before."""

    @property
    def timeout(self) -> timedelta | None:
        """How long it may take for one event; None: as long as any."""

    def wants(self, event: Event) -> bool:
        """Whether the event is for it."""

    async def take(self, event: Event) -> None:
        """Hand it over; whatever it raises means: not taken."""


@dataclass(frozen=True)
class Listener:
    """A plugin's own `on_event`."""

    id: str
    plugin: Plugin[Any]

    @property
    def from_start(self) -> bool:
        return self.plugin.from_start

    @property
    def timeout(self) -> timedelta | None:
        return self.plugin.timeout

    def wants(self, event: Event) -> bool:
        return not self.plugin.events or event.type in self.plugin.events

    async def take(self, event: Event) -> None:
        await self.plugin.on_event(event)


@dataclass(frozen=True)
class Notifying:
    """A notification channel: it gets what people want to be told of."""

    id: str
    channel: NotificationChannel
    timeout: timedelta | None = None
    from_start: bool = False

    def wants(self, event: Event) -> bool:
        return notification_of(event) is not None

    async def take(self, event: Event) -> None:
        note = notification_of(event)
        if note is not None:
            await self.channel.send(note)


def subscribers_of(loaded: Loaded) -> list[Subscriber]:
    """All that one plugin wants to be handed."""
    if loaded.plugin is None:
        return []
    subscribers: list[Subscriber] = []
    if loaded.plugin.subscribes:
        subscribers.append(Listener(loaded.name, loaded.plugin))
    subscribers += [
        Notifying(f"{loaded.name}/{channel.name}", channel, loaded.plugin.timeout)
        for channel in loaded.channels
    ]
    return subscribers


async def take_within(subscriber: Subscriber, event: Event, seconds: float) -> None:
    """Hand it over, with a limit.

    Raises:
        Exception: whatever the plugin raises.
        TimeoutError: it took too long.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            await subscriber.take(event)
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"it took longer than {seconds:g} s") from None
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Raised by the plugin, not by us: it is no reason to stop.
        raise RuntimeError("it cancelled itself") from None
