"""A scripted HTTP server on a real socket: transport trouble cannot be had from the real API."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from cortex.client import RetryPolicy

QUICK = RetryPolicy(attempts=4, base=0.01, longest=0.05)


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Reply = bytes | None
"""The bytes to send, then the connection is closed; None: close it without a word."""


@dataclass
class Stub:
    """Answers request after request with the scripted replies; the last one repeats."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def next_reply(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def reply(status: int, body: str, *, kind: str = "application/json", headers: str = "") -> bytes:
    """A whole HTTP answer."""
    content = body.encode()
    return (
        f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n"
        f"connection: close\r\n{headers}\r\n"
    ).encode() + content


def stream(body: str) -> bytes:
    """The beginning of an event stream; the connection closes after it."""
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return (head + body).encode()


async def _serve(stub: Stub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {
            name.lower(): value
            for line in head[1:]
            if line
            for name, _, value in [line.partition(": ")]
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        stub.seen.append(Seen(method, target, headers, body))
        answer = stub.next_reply()
        if answer is not None:
            writer.write(answer)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def _thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    runner = threading.Thread(target=loop.run_forever)
    runner.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        runner.join()
        loop.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    """The server, in a thread of its own so that blocking clients can be tested too."""
    answering = Stub()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(lambda r, w: _serve(answering, r, w), "127.0.0.1", 0)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()

    with _thread() as loop:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        answering.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield answering
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
