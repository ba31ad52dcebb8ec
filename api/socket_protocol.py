"""WebSockets on a connection, without a line in the log of errors for what a client does.

uvicorn takes a refusal that was answered over HTTP for a server that forgot to answer, and a text
that is no UTF-8 for a fault of its own. Anybody could fill the log so, without a key.
"""

import structlog
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.live import UNREADABLE

_log = structlog.get_logger(__name__)


class QuietSocketProtocol(WebSocketsSansIOProtocol):
    """The same answers and closes; they are no errors."""

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says; a refusal that is sent ends the handshake."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def send_receive_event_to_app(self) -> None:
        """Hand over a message, unless it is a text that cannot be read."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            data = b"".join(self.frames)
            try:
                data.decode()
            except UnicodeDecodeError as error:
                self.frames = []
                _log.info("live.unreadable", error=error.reason, position=error.start)
                self.conn.send_close(UNREADABLE)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()
