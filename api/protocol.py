"""HTTP/1.1 on a connection, bounded in time and size.

uvicorn waits without end for the head of a request, takes one of any size, keeps a connection whose
request was answered before its body came, and waits for whoever does not read an answer. Each lets
anybody hold connections and memory without a key.
"""

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.connections import Connections
from api.problems import MEDIA_TYPE, RETRY_AFTER, RequestTimeout, ServerBusy
from cortex.domain.units import format_bytes
from cortex.schemas.server import Problem

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request line with its headers."""

_MOST_UNREAD: Final = 8 * MAX_HEAD

_TOO_LARGE: Final = Problem(
    status=431,
    code="request_header_fields_too_large",
    title="Request Header Fields Too Large",
    detail=f"the request line and its headers may have at most {format_bytes(MAX_HEAD)}",
)
_NO_HTTP: Final = Problem(
    status=400, code="bad_request", title="Bad Request", detail="this is no HTTP request"
)
_LATE: Final = Problem(
    status=RequestTimeout.status_code,
    code=RequestTimeout.code,
    title=RequestTimeout.title,
    detail="the request line and its headers did not arrive in time",
)
_BUSY: Final = Problem(
    status=ServerBusy.status_code,
    code=ServerBusy.code,
    title=ServerBusy.title,
    detail="server busy: all connections are taken; try again",
)


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request does not come, or does not fit.

    Args:
        among: All of this server.

    Attributes:
        head_seconds: From the connection, or from the first byte of a later request, to the end
            of its headers.
        rest_seconds: How long the rest of a body is still read when the answer was given.
        stall_seconds: How long a client may take next to nothing of an answer that waits for it.
        linger_seconds: How long what still comes is thrown away when a request was refused.
    """

    head_seconds: ClassVar[float] = 30.0
    rest_seconds: ClassVar[float] = 5.0
    stall_seconds: ClassVar[float] = 120.0
    linger_seconds: ClassVar[float] = 1.0

    def __init__(self, *args: Any, among: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._among = among
        self._in_head = False
        self._refused = False
        self._may_be_large = False
        self._too_large = False
        self._upgraded = False
        self._arrived = True  # the whole message, as far as one has begun
        self._head_size = 0
        self._head_end: asyncio.TimerHandle | None = None
        self._rest_end: asyncio.TimerHandle | None = None
        self._stall_end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_end = self.loop.call_later(self.head_seconds, self._head_is_late)
        self._among.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._among.leave(self)
        for timer in self._head_end, self._rest_end, self._stall_end:
            if timer is not None:
                timer.cancel()
        self._head_end = self._rest_end = self._stall_end = None

    def handle_websocket_upgrade(self) -> None:
        """From here on the connection is a WebSocket's, with limits of its own."""
        if self._too_large:
            return
        super().handle_websocket_upgrade()
        self._upgraded = True
        self._among.leave(self)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._head_size += len(data)
            if self._head_size > _MOST_UNREAD:
                self.transport.close()
            return
        self._may_be_large = self._head_size + len(data) > MAX_HEAD
        super().data_received(data)
        if self._refused:
            return
        if not self._upgraded and self._waits_for_head():
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._refuse(_TOO_LARGE)
            elif self._head_end is None and not self.transport.is_closing():
                self._head_end = self.loop.call_later(self.head_seconds, self._head_is_late)
        elif self._head_end is not None:
            self._head_end.cancel()
            self._head_end = None

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP; as all refusals, and not in the middle of another answer."""
        self._refuse(_NO_HTTP)

    def on_message_begin(self) -> None:
        if self._too_large:
            return
        self._in_head, self._arrived = True, False
        super().on_message_begin()
        self._among.mark(self, "owing")

    def on_headers_complete(self) -> None:
        if self._too_large:
            return
        if self._may_be_large and self._size_of_head() > MAX_HEAD:
            self._too_large = True
            self._refuse(_TOO_LARGE)
            return
        self._in_head, self._head_size = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._too_large:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._too_large:
            return
        self._arrived = True
        self._among.mark(self, "busy" if self._answering() else "idle")
        if self._rest_end is not None:
            self._rest_end.cancel()
            self._rest_end = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._arrived and not self._answering():
            self._among.mark(self, "idle")
        if not self._arrived and not self._in_head and not self.transport.is_closing():
            self._rest_end = self.loop.call_later(self.rest_seconds, self.transport.close)

    def give_way(self, *, say_why: bool) -> None:
        """Another connection needs its place."""
        if say_why and (self._in_head or self.cycle is None):
            self._refuse(_BUSY)
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        # Not `close`: that would wait for the client to take the rest.
        self._stall_end = self.loop.call_later(self.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_end is not None:
            self._stall_end.cancel()
            self._stall_end = None

    def _size_of_head(self) -> int:
        """Of a head that is complete, without what the parser leaves out, such as blanks."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _waits_for_head(self) -> bool:
        return self._in_head or (self._arrived and not self._answering())

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _head_is_late(self) -> None:
        self._head_end = None
        if self._answering():  # one request is worked on, the next has begun: it may take as long
            self._head_end = self.loop.call_later(self.head_seconds, self._head_is_late)
        elif self._in_head:
            self._refuse(_LATE)
        else:
            self.transport.close()

    def _refuse(self, why: Problem) -> None:
        """Say why, unless that would stand in the middle of another answer, and close."""
        if self._refused or self.transport.is_closing():
            return
        if self._answering() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._refused = True
        body = why.model_dump_json().encode()
        about = b"content-type: %s\r\n" % MEDIA_TYPE.encode()
        if why.status == 503:
            about += b"retry-after: %s\r\n" % RETRY_AFTER.encode()
        ending = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[why.status] + about + ending + body)
        # Closed with something unread, the system resets the connection, and a client that still
        # sends loses the answer.
        self.transport.write_eof()
        self._rest_end = self.loop.call_later(self.linger_seconds, self.transport.close)
