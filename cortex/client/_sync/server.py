"""The part of the blocking client that is about the server itself."""
# Made from _async/server.py by `make format`; change that one.

from collections.abc import Mapping
from typing import Any, Literal

from cortex.client._routes import server as routes
from cortex.client.transport import Transport
from cortex.schemas.server import Health, Info


class ServerCalls:
    """What `Cortex` can ask about its server."""

    _transport: Transport

    def job_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the job spec."""
        return self._transport.call(routes.job_schema())

    def info(self) -> Info:
        """The server's version and links."""
        return self._transport.call(routes.info())

    def health(self, kind: Literal["live", "ready"] = "ready") -> Health:
        """How the server is, and what of that which it stands on is away."""
        return self._transport.call(routes.health(kind))
