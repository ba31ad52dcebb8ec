"""The part of the asynchronous client that is about the server itself."""

from collections.abc import Mapping
from typing import Any, Literal

from cortex.client._routes import server as routes
from cortex.client.transport import AsyncTransport
from cortex.schemas.server import Health, Info


class AsyncServerCalls:
    """What `AsyncCortex` can ask about its server."""

    _transport: AsyncTransport

    async def job_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the job spec."""
        return await self._transport.call(routes.job_schema())

    async def info(self) -> Info:
        """The server's version and links."""
        return await self._transport.call(routes.info())

    async def health(self, kind: Literal["live", "ready"] = "ready") -> Health:
        """How the server is, and what of that which it stands on is away."""
        return await self._transport.call(routes.health(kind))
