"""A raw client: asks as a recording did, and writes down what comes in the same form."""

import asyncio
import base64
import secrets
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from websockets.frames import Frame as WsFrame
from websockets.frames import Opcode

from simulators.kit.sockets import End, Wire
from tests.support.recordings.files import Answer, Ending, Frame, Request
from tests.support.recordings.frames import FrameReader, Head, head_of

_BODILESS = ("204", "304")


async def ask(
    url: str,
    request: Request,
    *,
    headers: Mapping[str, str] | None = None,
    within: float = 30.0,
    scale: float = 1.0,
) -> Answer:
    """Ask the server at `url`, over TLS where its scheme says so; certificates are not looked at.

    `headers` stand in place of those of the request that have the same names. The client's frames
    are sent at `scale` times their times; pings are answered where the request says so.

    Raises:
        TimeoutError: it did not end in time.
        ConnectionError: there was no answer.
    """
    place = urlsplit(url)
    context = _context() if place.scheme == "https" else None
    async with asyncio.timeout(within):
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        wire = Wire(reader, writer, context, host=place.hostname)
        try:
            await wire.handshake()
            await wire.write(_head(request, place.netloc, place.path.rstrip("/"), headers or {}))
            head = await head_of(wire)
            if head is None:
                raise ConnectionResetError("no answer")
            return await _answer(wire, request, head, scale)
        finally:
            writer.close()


async def _answer(wire: Wire, request: Request, head: Head, scale: float) -> Answer:
    line = " ".join(head.words)
    if not (request.upgrade and head.words[1] == "101"):
        body = b"" if head.words[1] in _BODILESS else await head.body(wire, to_end=True)
        return Answer(line, head.pairs, body)
    frames: list[Frame] = []
    began = asyncio.get_running_loop().time()
    sender = asyncio.create_task(_send(wire, request, scale))
    reader = FrameReader(masked=False)
    reader.feed(head.rest)
    try:
        async for frame in reader.of(wire):
            frames.append(frame)
            if frame.opcode is Opcode.PING and request.pong:
                await wire.write(WsFrame(Opcode.PONG, frame.data).serialize(mask=True))
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
    code = frames[-1].close.code if frames and frames[-1].opcode is Opcode.CLOSE else None
    at = asyncio.get_running_loop().time() - began
    ending = Ending(code, wire.ended or End(False, "rst"), at)
    return Answer(line, head.pairs, None, tuple(frames), ending)


async def _send(wire: Wire, request: Request, scale: float) -> None:
    began = asyncio.get_running_loop().time()
    for frame in request.sends:
        await asyncio.sleep(max(0.0, began + frame.t * scale - asyncio.get_running_loop().time()))
        await wire.write(WsFrame(frame.opcode, frame.data, frame.fin).serialize(mask=True))


def _head(request: Request, host: str, prefix: str, instead: Mapping[str, str]) -> bytes:
    pairs = {"Host": host, **dict(request.headers), **instead}
    if request.upgrade:
        pairs |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        pairs["Sec-WebSocket-Key"] = base64.b64encode(secrets.token_bytes(16)).decode()
    if request.body is not None:
        pairs["Content-Length"] = str(len(request.body))
    lines = [f"{request.method} {prefix}{request.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in pairs.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (request.body or b"")


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
