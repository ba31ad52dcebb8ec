"""The part of the asynchronous client that is about plugins."""

from cortex.client._routes import plugins as routes
from cortex.client.transport import AsyncTransport
from cortex.schemas.plugins import PluginView


class AsyncPluginCalls:
    """What `AsyncCortex` can say of plugins."""

    _transport: AsyncTransport

    async def plugins(self) -> tuple[PluginView, ...]:
        """Every plugin of the workers: what it adds, whether it takes its events."""
        return await self._transport.call(routes.plugins())

    async def plugin(self, name: str) -> PluginView:
        """One plugin."""
        return await self._transport.call(routes.plugin(name))
