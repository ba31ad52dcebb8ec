"""What both ends of a raw connection need: heads of HTTP messages, and frames as they come."""

import asyncio
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass

from websockets.frames import Frame as WsFrame
from websockets.streams import StreamReader

from simulators.kit.sockets import Wire
from tests.support.recordings.files import Frame, Headers

_MAX_HEAD = 64 * 1024


@dataclass
class Head:
    """The beginning of a request or an answer; `rest` came with it and belongs to what follows."""

    words: list[str]
    pairs: Headers
    rest: bytes

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.pairs}

    async def body(self, wire: Wire, *, to_end: bool = False) -> bytes:
        """As long as the head says; without a length none, or with `to_end` all that comes."""
        if "transfer-encoding" in self.headers:
            raise ValueError("bodies in chunks are not read here")
        length = self.headers.get("content-length")
        if length is None and not to_end:
            return b""
        body, self.rest = self.rest, b""
        while length is None or len(body) < int(length):
            data = await wire.read()
            if not data:
                break
            body += data
        return body


async def head_of(wire: Wire) -> Head | None:
    """The next message's head; None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > _MAX_HEAD:
            raise ValueError("a head without an end")
        more = await wire.read()
        if not more:
            return None
        data += more
    text, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = text.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    return Head(first.split(" ", 2), tuple((name, value.strip()) for name, _, value in pairs), rest)


class FrameReader:
    """Frames of one side, each with the time at which it came."""

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked
        self._data = StreamReader()
        self._parser = self._next()
        self._zero = asyncio.get_running_loop().time()

    def feed(self, data: bytes) -> None:
        self._data.feed_data(data)

    async def of(self, wire: Wire) -> AsyncIterator[Frame]:
        """Until the connection ends; half a frame before the end is left out."""
        while True:
            try:
                next(self._parser)
            except StopIteration as done:
                frame: WsFrame = done.value
                self._parser = self._next()
                at = asyncio.get_running_loop().time() - self._zero
                yield Frame(frame.opcode, bytes(frame.data), frame.fin, at)
                continue
            data = await wire.read()
            if not data:
                return
            self._data.feed_data(data)

    def _next(self) -> Generator[None, None, WsFrame]:
        return WsFrame.parse(self._data.read_exact, mask=self._masked)
