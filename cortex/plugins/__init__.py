"""Plugins of other packages: subscribers to events, placement strategies, notification channels."""

from cortex.domain.events import Event, EventType
from cortex.domain.providers.ranking import Facts, PlacementStrategy
from cortex.plugins.contract import Away, NotificationChannel, Plugin, PluginConfig
from cortex.plugins.notifications import Notification

__all__ = [
    "Away",
    "Event",
    "EventType",
    "Facts",
    "Notification",
    "NotificationChannel",
    "PlacementStrategy",
    "Plugin",
    "PluginConfig",
]
