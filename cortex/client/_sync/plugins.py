"""The part of the blocking client that is about plugins."""
# Made from _async/plugins.py by `make format`; change that one.

from cortex.client._routes import plugins as routes
from cortex.client.transport import Transport
from cortex.schemas.plugins import PluginView


class PluginCalls:
    """What `Cortex` can say of plugins."""

    _transport: Transport

    def plugins(self) -> tuple[PluginView, ...]:
        """Every plugin of the workers: what it adds, whether it takes its events."""
        return self._transport.call(routes.plugins())

    def plugin(self, name: str) -> PluginView:
        """One plugin."""
        return self._transport.call(routes.plugin(name))
