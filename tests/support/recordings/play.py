"""Plays recordings: a server whose bytes, times and end are those of the recording."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

from websockets.frames import Frame as WsFrame
from websockets.frames import Opcode
from websockets.utils import accept_key

from simulators.kit.sockets import End, Wire
from tests.support import patience
from tests.support.recordings.certificates import server_context
from tests.support.recordings.files import Answer, Frame, Recording
from tests.support.recordings.frames import FrameReader, Head, head_of

_PATIENCE = 10.0


@dataclass(frozen=True)
class Asked:
    """What a client asked of the player, and the frames that it has sent since."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    frames: list[Frame] = field(default_factory=list)


Choose = Callable[[Asked], Recording]


@dataclass
class Player:
    """A running player. `requests` are those that came, in order."""

    url: str
    pem: str
    choose: Choose
    scale: float
    requests: list[Asked] = field(default_factory=list)

    def plays(self, *recordings: Recording) -> None:
        """What is played from now on: each once, the last one for ever."""
        self.choose = _queue(recordings)


@asynccontextmanager
async def playing(
    *recordings: Recording, choose: Choose | None = None, tls: bool = True, scale: float = 1.0
) -> AsyncIterator[Player]:
    """Serve recordings on a free loopback port: each once, the last one for ever, or what
    `choose` finds for a request. Its waits are `scale` times those of the recording.
    """
    context, pem = server_context() if tls else (None, "")
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await _Connection(player, Wire(reader, writer, context, server_side=True)).run()
        except asyncio.CancelledError:
            pass  # the player ends
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    scheme = "https" if tls else "http"
    choice = choose or _queue(recordings)
    player = Player(f"{scheme}://127.0.0.1:{port}", pem, choice, scale)
    try:
        yield player
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _queue(recordings: tuple[Recording, ...]) -> Choose:
    left = list(recordings)

    def choose(_asked: Asked) -> Recording:
        return left.pop(0) if len(left) > 1 else left[0]

    return choose


class _Connection:
    """One client's."""

    def __init__(self, player: Player, wire: Wire) -> None:
        self._player = player
        self._wire = wire
        self._frames = FrameReader(masked=True)
        self._came = asyncio.Condition()

    async def run(self) -> None:
        await self._wire.handshake()
        while (head := await head_of(self._wire)) is not None:
            body = await head.body(self._wire)
            path, headers = head.words[1], head.headers
            asked = Asked(head.words[0], path, headers, body)
            self._player.requests.append(asked)
            answer = self._player.choose(asked).answer
            if answer.ending is not None:
                await self._socket(answer, asked, head)
                return
            await self._wire.write(_head(answer, asked) + (answer.body or b""))
            if "close" in (answer.header("connection"), asked.headers.get("connection")):
                await self._wire.end(End(True, "fin"))
                return

    async def _socket(self, answer: Answer, asked: Asked, head: Head) -> None:
        """Frames at their times. What followed a frame of the client's waits for the like."""
        assert answer.ending is not None
        await self._wire.write(_head(answer, asked))
        self._frames.feed(head.rest)
        listener = asyncio.create_task(self._listen(asked))
        began = asyncio.get_running_loop().time()
        try:
            for frame in answer.frames:
                await self._until(began, frame.t)
                if frame.opcode is Opcode.CLOSE and self._answers_close(answer, frame):
                    await self._client_closes(asked)
                data = WsFrame(frame.opcode, frame.data, frame.fin)
                await self._wire.write(data.serialize(mask=False))
            await self._until(began, answer.ending.t)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
        await self._wire.end(answer.ending.wire)

    @staticmethod
    def _answers_close(answer: Answer, frame: Frame) -> bool:
        """Whether a close frame is the echo of the client's: 1000, after time went by."""
        return frame.close.code == 1000 and frame.t >= 0.5

    async def _client_closes(self, asked: Asked) -> None:
        async with asyncio.timeout(patience(_PATIENCE * self._player.scale)), self._came:
            await self._came.wait_for(
                lambda: any(frame.opcode is Opcode.CLOSE for frame in asked.frames)
            )

    async def _listen(self, asked: Asked) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            async for frame in self._frames.of(self._wire):
                async with self._came:
                    asked.frames.append(frame)
                    self._came.notify_all()

    async def _until(self, began: float, t: float) -> None:
        left = began + t * self._player.scale - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)


def _head(answer: Answer, asked: Asked) -> bytes:
    """Status line and headers as recorded, with what differs each time put in."""
    lines = [answer.status_line]
    for name, value in answer.headers:
        if value == "<date>":
            value = formatdate(usegmt=True)
        elif name.lower() == "sec-websocket-accept":
            value = accept_key(asked.headers.get("sec-websocket-key", ""))
        elif name.lower() == "content-length" and answer.body is not None:
            value = str(len(answer.body))  # texts of recordings have placeholders in them
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
