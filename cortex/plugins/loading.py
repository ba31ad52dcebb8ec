"""Finds plugins through entry points (group `cortex.plugins`), and makes them and our own.

A plugin that cannot be loaded is told of and left out: it must keep no worker from working.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distribution, entry_points
from typing import Any, Final

import structlog
from pydantic import ValidationError

from cortex.domain.errors import field_errors
from cortex.domain.providers.ranking import PlacementStrategy
from cortex.domain.spec import Strategy
from cortex.plugins.contract import NotificationChannel, Plugin
from cortex.settings import PluginSettings

GROUP = "cortex.plugins"
OURS: Final = {
    name: EntryPoint(name, value, GROUP)
    for name, value in {
        "chat": "cortex.sinks.chat:Chat",
        "email": "cortex.sinks.email:Email",
        "rabbitmq": "cortex.sinks.rabbitmq:RabbitMQ",
    }.items()
}
"""Those that come with Cortex: there where they are configured."""
_log = structlog.get_logger(__name__)
_LONGEST = 300
_PACKAGE: Final = "cortex-orchestrator"


@dataclass(frozen=True)
class Loaded:
    """One plugin that is installed: made, or why it could not be.

    Attributes:
        name: The name of its entry point.
        package: The distribution that it comes from, with its version.
        plugin: None if it is broken.
        problem: Why; empty if it is not.
    """

    name: str
    package: str = ""
    version: str = ""
    plugin: Plugin[Any] | None = None
    problem: str = ""

    @property
    def strategies(self) -> Sequence[PlacementStrategy]:
        return self.plugin.strategies if self.plugin else ()

    @property
    def channels(self) -> Sequence[NotificationChannel]:
        return self.plugin.channels if self.plugin else ()


def load_plugins(settings: Mapping[str, PluginSettings]) -> list[Loaded]:
    """Every installed plugin that is not switched off, and ours that are configured, by name."""
    points: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        points.setdefault(point.name, point)
    for name in OURS.keys() & settings.keys():
        points.setdefault(name, OURS[name])
    nothing = PluginSettings()
    loaded = []
    for name in sorted(points.keys() | settings.keys()):
        chosen = settings.get(name, nothing)
        if not chosen.enabled:
            continue
        if name in points:
            loaded.append(_load(points[name], chosen))
        else:
            loaded.append(Loaded(name, problem="no installed package has a plugin of this name"))
    return loaded


def strategies_of(plugins: Sequence[Loaded]) -> dict[str, PlacementStrategy]:
    """The strategies of all plugins by name; the built-in ones and the first of a name win."""
    strategies: dict[str, PlacementStrategy] = {}
    for plugin in plugins:
        for strategy in plugin.strategies:
            if strategy.name in strategies or strategy.name in set(Strategy):
                _log.warning("plugin.strategy_taken", plugin=plugin.name, strategy=strategy.name)
            else:
                strategies[strategy.name] = strategy
    return strategies


def sentence(error: Exception) -> str:
    """What a plugin raised, for people: one line."""
    if isinstance(error, ValidationError):
        wrong = [f"`{problem.field}` {problem.message}" for problem in field_errors(error)]
        return f"its configuration is not valid: {', '.join(wrong[:3])}"
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _load(point: EntryPoint, settings: PluginSettings) -> Loaded:
    dist = distribution(_PACKAGE) if point in OURS.values() else point.dist
    package, version = (dist.name, dist.version) if dist else ("", "")
    try:
        plugin = _make(point, settings)
    except Exception as error:  # foreign code: whatever it is, the worker goes on without it
        _log.warning("plugin.broken", plugin=point.name, package=package, error=sentence(error))
        return Loaded(point.name, package, version, problem=sentence(error))
    return Loaded(point.name, package, version, plugin)


def _make(point: EntryPoint, settings: PluginSettings) -> Plugin[Any]:
    cls = point.load()
    if not (isinstance(cls, type) and issubclass(cls, Plugin)):
        raise TypeError(f"`{point.value}` is no subclass of cortex.plugins.Plugin")
    plugin = cls(cls.Config.model_validate(settings.config()))
    for strategy in plugin.strategies:
        if not isinstance(strategy, PlacementStrategy):
            raise TypeError(f"{strategy!r} is no placement strategy: it needs name, score, explain")
    for channel in plugin.channels:
        if not isinstance(channel, NotificationChannel):
            raise TypeError(f"{channel!r} is no notification channel: it needs name and send")
    return plugin
