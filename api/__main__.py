"""`python -m api`: the API server, until SIGTERM or Ctrl-C."""

import asyncio
import socket
import sys

import structlog
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from api.app import create_app
from cortex.domain.errors import CortexError, field_errors
from cortex.settings import Settings
from cortex.telemetry.logging import configure_logging

_GRACE_SECONDS = 5
_log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Ends open streams at once when it is asked to stop, and the rest within the grace time."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.api.host,
                port=settings.api.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                ws="none",
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services = getattr(self._app.state, "services", None)
        if services is not None:
            services.hub.stop()
        await super().shutdown(sockets)


def main() -> None:
    """Run the server; exits with 1 if it cannot start."""
    try:
        settings = Settings()
        configure_logging(settings.telemetry)
        server = Server(create_app(settings), settings)
    except ValidationError as error:
        problems = ", ".join(f"`{item.field}` {item.message}" for item in field_errors(error))
        sys.exit(f"the settings are not valid: {problems}")
    except CortexError as error:
        sys.exit(f"the API cannot start: {error.detail}")
    except ValueError as error:
        sys.exit(f"the settings cannot be read: {error}")
    _log.info("api.start", host=settings.api.host, port=settings.api.port)
    asyncio.run(server.serve())
    if not server.started:
        sys.exit(1)
    _log.info("api.end")


if __name__ == "__main__":
    main()
