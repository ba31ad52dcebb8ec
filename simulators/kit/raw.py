"""HTTP/1.1 and WebSocket on a `Wire`: nothing is added, and each end is chosen by who answers.

A server of the usual kind adds headers, negotiates compression, answers close frames and says
goodbye by itself. A network whose gateway does none of that needs one that does not either.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import h11
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader
from websockets.utils import accept_key

from cortex.tasks import end_tasks
from simulators.kit.sockets import End, Wire

USUAL_END = End(notify=True, tcp="fin")


@dataclass(frozen=True)
class Request:
    """What a client asks; headers by their lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """Each parameter's first value; the empty ones too."""
        query: dict[str, str] = {}
        for name, value in parse_qsl(urlsplit(self.target).query, keep_blank_values=True):
            query.setdefault(name, value)
        return query

    @property
    def wants_socket(self) -> bool:
        return (
            self.headers.get("upgrade", "").lower() == "websocket"
            and "upgrade" in self.headers.get("connection", "").lower()
            and "sec-websocket-key" in self.headers
        )


@dataclass(frozen=True)
class Reply:
    """An answer; `Date` and `Content-Length` come after its own headers."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = field(default=())


Stream = Callable[["Session"], Awaitable[None]]
Answer = Reply | Stream
Handler = Callable[[Request], Awaitable[Answer]]
"""A `Stream` as the answer makes the connection a WebSocket and is run on it."""


class Session:
    """A WebSocket of which the server does exactly what it is told. Ends with `end`."""

    def __init__(self, wire: Wire, rest: bytes) -> None:
        self._wire = wire
        self._data = StreamReader()
        self._data.feed_data(rest)

    async def send(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> None:
        """One frame.

        Raises:
            ConnectionError: the client is gone.
        """
        await self._wire.write(Frame(opcode, data, fin).serialize(mask=False))

    async def close(self, code: int, reason: str = "") -> None:
        """A close frame; the connection stays until `end`."""
        await self.send(Opcode.CLOSE, Close(code, reason).serialize())

    async def frames(self) -> AsyncIterator[Frame]:
        """What the client sends, until it is gone or breaks the protocol."""
        while True:
            parser = Frame.parse(self._data.read_exact, mask=True)
            while True:
                try:
                    next(parser)
                except StopIteration as done:
                    frame: Frame = done.value
                    break
                data = await self._wire.read()
                if not data:
                    return
                self._data.feed_data(data)
            yield frame

    async def end(self, how: End = USUAL_END) -> None:
        await self._wire.end(how)


class RawServer:
    """Serves a handler on one port; `alive` false lets every connection break off at once."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None) -> None:
        self._handler = handler
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.alive: Callable[[], bool] = lambda: True

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Listen; the port, another one where that is taken."""
        try:
            self._server = await asyncio.start_server(self._connected, host, port)
        except OSError:
            self._server = await asyncio.start_server(self._connected, host, 0)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def aclose(self) -> None:
        """Stop, and break off what goes on."""
        if self._server is not None:
            self._server.close()
        await end_tasks(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.alive():
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        wire = Wire(reader, writer, self._context, server_side=True)
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError, h11.RemoteProtocolError):
                await wire.handshake()
                await self._serve(wire)
        except asyncio.CancelledError:
            writer.transport.abort()  # asyncio reports a task of its own that was cancelled
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, wire: Wire) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        while (request := await _next(http, wire)) is not None:
            answer = await self._handler(request)
            if not isinstance(answer, Reply):
                await wire.write(_switch(http, request))
                await answer(Session(wire, http.trailing_data[0]))
                return
            headers = [*answer.headers, ("Date", formatdate(usegmt=True))]
            headers.append(("Content-Length", str(len(answer.body))))
            reason = HTTPStatus(answer.status).phrase.encode()
            head = h11.Response(status_code=answer.status, headers=headers, reason=reason)
            parts = (head, h11.Data(data=answer.body), h11.EndOfMessage())
            await wire.write(b"".join(http.send(part) or b"" for part in parts))
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                await wire.end(USUAL_END)
                return
            http.start_next_cycle()


async def _next(http: h11.Connection, wire: Wire) -> Request | None:
    """The next request with its body; None at the end of the connection."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await wire.read())
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.ConnectionClosed) or head is None:
            return None
        elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
            headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            return Request(head.method.decode(), head.target.decode(), headers, bytes(body))


def _switch(http: h11.Connection, request: Request) -> bytes:
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    headers.append(("Sec-WebSocket-Accept", accept_key(request.headers["sec-websocket-key"])))
    head = h11.InformationalResponse(
        status_code=101, headers=headers, reason=b"Switching Protocols"
    )
    return http.send(head) or b""
