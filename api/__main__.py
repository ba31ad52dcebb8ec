"""`python -m api`: the API server, until SIGTERM or Ctrl-C."""

import cortex.telemetry.structlog_alone  # noqa: F401  # the first of all

# isort: split
import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.connections import connections_of
from api.live import MAX_MESSAGE
from api.protocol import BoundedProtocol
from cortex import faultpoints, garbage
from cortex.domain.errors import CortexError
from cortex.loops import loop_factory
from cortex.security.kms import with_open_keys
from cortex.settings import Settings, read_settings
from cortex.telemetry.logging import configure_logging

_GRACE_SECONDS = 5
_log = structlog.get_logger(__name__)


def _websocket(**options: Any) -> asyncio.Protocol:
    """Loaded with the first client."""
    from api.socket_protocol import QuietSocketProtocol

    return QuietSocketProtocol(**options)


class Server(uvicorn.Server):
    """Ends open streams at once when it is asked to stop, and the rest within the grace time.

    Args:
        app: What it serves.
        settings: Where it listens.
        ready: Called once the services run, before the first request.
    """

    def __init__(
        self, app: FastAPI, settings: Settings, *, ready: Callable[[], None] = lambda: None
    ) -> None:
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
                http=partial(BoundedProtocol, among=connections_of(settings.api)),  # type: ignore[arg-type]
                ws=_websocket,  # type: ignore[arg-type]
                ws_max_size=MAX_MESSAGE,
                # It would take 100 KiB and more for each client.
                ws_per_message_deflate=False,
            )
        )
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the second Ctrl-C stops at once.

        Unlike uvicorn's own, it does not raise the signal again at the end: who was asked to stop
        and did has ended well, and supervisors see that by exit code 0.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services = getattr(self._app.state, "services", None)
        if services is not None:
            services.hub.stop()
        await super().shutdown(sockets)


def main() -> None:
    """Run the server; exits with 1 if it cannot start."""
    faultpoints.arm()
    try:
        settings = read_settings()
        configure_logging(settings.telemetry)
        settings = with_open_keys(settings)
        server = Server(create_app(settings), settings, ready=garbage.freeze)
    except CortexError as error:
        sys.exit(f"the API cannot start: {error.detail}")
    _log.info("api.start", host=settings.api.host, port=settings.api.port)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(server.serve())
    if not server.started:
        sys.exit(1)
    _log.info("api.end")


if __name__ == "__main__":
    main()
