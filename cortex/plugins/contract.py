"""What a plugin is: one class that may listen to events, rank offers and carry notifications.

A package names its plugins as entry points of the group `cortex.plugins`; workers load them. A
plugin runs inside the worker: what it raises is caught, what it blocks is blocked.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from cortex.domain.events import Event, EventType
from cortex.domain.providers.ranking import PlacementStrategy
from cortex.plugins.notifications import Notification


class PluginConfig(BaseModel):
    """What `[plugins.<name>]` may hold; each plugin adds its own fields."""

    # What is wrong may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Away(Exception):
    """What the events go to cannot take any just now. To be raised by `on_event` and `send`.

    Such a try is not counted: the event comes again for as long as it takes, and the later ones
    wait behind it. Any other exception says that this one event cannot be taken.
    """


@runtime_checkable
class NotificationChannel(Protocol):
    """A way to tell people: a chat, a mail, a pager."""

    @property
    def name(self) -> str:
        """What it is called in `cortex plugins`."""

    async def send(self, note: Notification) -> None:
        """Tell it. What is raised counts as "not told": it is tried again.

        Raise `Away` while the line is down: nothing is skipped then.
        The same note may come twice (after a crash): `note.event.id` tells them apart.
        """


ConfigT = TypeVar("ConfigT", bound=PluginConfig)


class Plugin(Generic[ConfigT]):
    """One plugin of one worker. Every method but `__init__` may be left as it is.

    Attributes:
        Config: The class of its configuration; secrets are `SecretStr` fields.
        events: The types that `on_event` gets; empty for all.
        from_start: Whether it gets the events of before its first start, too.
        timeout: How long it may take for one event; None: as `plugin_delivery.timeout` says.
        strategies: Ways to rank offers that it adds; may be set in `__init__`.
        channels: Notification channels that it adds; may be set in `__init__`.
    """

    Config: ClassVar[type[PluginConfig]] = PluginConfig
    events: ClassVar[Collection[EventType]] = ()
    from_start: ClassVar[bool] = False
    timeout: ClassVar[timedelta | None] = None
    strategies: Sequence[PlacementStrategy] = ()
    channels: Sequence[NotificationChannel] = ()

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    async def start(self) -> None:
        """Open what it needs, once per worker. What it raises is shown, and it is tried again."""

    async def aclose(self) -> None:
        """Close it."""

    async def on_event(self, event: Event) -> None:
        """Take one event.

        Each event comes at least once, and those of one job in their order: after a crash the
        last ones come again, so what is done must bear being done twice (`event.id` tells). What
        is raised counts as "not taken": the event comes again later, a bounded number of times;
        after `Away` (what it goes to is down) without a bound, so that an outage loses nothing.
        Only one worker at a time hands out events to one plugin.
        """

    @property
    def subscribes(self) -> bool:
        """Whether it listens to events at all."""
        return type(self).on_event is not Plugin.on_event
