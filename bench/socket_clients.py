"""Many clients in one process of its own, each as small as can be; ordered by lines on stdin.

`python -m bench.socket_clients idle PORT KEY COUNT ADDRESS` opens COUNT WebSockets from ADDRESS and
subscribes on each to submissions. `... heads` and `... bodies` open connections that send one byte
a second: of a request's head, or of its body. What it has to say it prints as lines of JSON.
"""

import asyncio
import base64
import collections
import json
import os
import resource
import sys
import time
from typing import Any, cast

from cortex.loops import loop_factory

_AT_ONCE = 100
_DRIP_SECONDS = 1.0
_HEAD = b"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nX-Drip: "
_SUBJECT = b'"subject":"'
_SUBSCRIBE = json.dumps({"type": "subscribe", "id": "a", "types": ["job.submitted"]}).encode()


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


class Count:
    """What all clients of this process have heard."""

    def __init__(self, of: int) -> None:
        self.of = of
        self.open = 0
        self.ended: collections.Counter[str] = collections.Counter()
        self.events: dict[bytes, list[float]] = {}

    def heard(self, event: bytes) -> None:
        times = self.events.setdefault(event, [])
        times.append(time.monotonic())
        if len(times) == self.open:
            say(event=event.decode(), first=times[0], last=times[-1], clients=len(times))


class WebSocket(asyncio.Protocol):
    """Subscribes, answers pings, counts events."""

    def __init__(self, key: str, count: Count) -> None:
        self._key = key
        self._count = count
        self._got = b""
        self._upgraded = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # that of uvloop is none by its class
        self._transport = transport
        transport.write(
            b"GET /api/v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: %s\r\nAuthorization: Bearer %s\r\n\r\n"
            % (base64.b64encode(os.urandom(16)), self._key.encode())
        )

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._upgraded:
            head, ended, rest = self._got.partition(b"\r\n\r\n")
            if not ended:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self._end(head.split(b"\r\n")[0].decode())
                return
            self._upgraded, self._got = True, rest
            self._send(1, _SUBSCRIBE)
        while self._frame():
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ready.done() and self.ready.exception() is None:
            self._count.open -= 1
        self._end("closed")

    def _frame(self) -> bool:
        """Take one frame, if it is whole; those of a server are not masked."""
        if len(self._got) < 2:
            return False
        size, start = self._got[1], 2
        if size == 126:
            size, start = int.from_bytes(self._got[2:4]), 4
        if len(self._got) < start + size:
            return False
        kind, body = self._got[0] & 15, self._got[start : start + size]
        self._got = self._got[start + size :]
        if kind == 9:
            self._send(10, body)
        elif kind == 8:
            self._end(f"close {int.from_bytes(body[:2])}")
        elif kind == 1 and body.startswith(b'{"type":"subscribed"'):
            if not self.ready.done():
                self._count.open += 1
                self.ready.set_result(None)
        elif kind == 1 and body.startswith(b'{"type":"event"'):
            start = body.index(_SUBJECT) + len(_SUBJECT)
            self._count.heard(body[start : body.index(b'"', start)])
        return True

    def _send(self, kind: int, body: bytes) -> None:
        """With a mask of zeros, which changes nothing."""
        size = bytes([128 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2)
        self._transport.write(bytes([128 | kind]) + size + bytes(4) + body)

    def _end(self, how: str) -> None:
        self._count.ended[how] += 1
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(how))
            self.ready.exception()
        self._transport.abort()


async def idle(port: int, key: str, count: int, address: str) -> None:
    """Open them all, say so, and tell of each event that all of them have; until stdin ends."""
    loop = asyncio.get_running_loop()
    heard, slots = Count(count), asyncio.Semaphore(_AT_ONCE)
    began = time.monotonic()

    async def one() -> WebSocket:
        async with slots:
            _, client = await loop.create_connection(
                lambda: WebSocket(key, heard), "127.0.0.1", port, local_addr=(address, 0)
            )
            await asyncio.wait([client.ready])
            return client

    clients = await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)
    refused = [client for client in clients if isinstance(client, BaseException)]
    say(opened=heard.open, failed=len(refused), seconds=time.monotonic() - began)
    await asyncio.to_thread(sys.stdin.readline)
    say(open=heard.open, ended=dict(heard.ended))
    for client in clients:
        if isinstance(client, WebSocket):
            client._transport.close()
    await asyncio.to_thread(sys.stdin.readline)


async def drip(kind: str, port: int, key: str, count: int, address: str) -> None:
    """Hold connections with requests that never become complete; one that is closed comes anew."""
    ended: collections.Counter[str] = collections.Counter()
    body = (
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100000\r\nAuthorization: Bearer %s\r\n\r\n" % key.encode()
    )

    async def one(number: int) -> None:
        await asyncio.sleep(_DRIP_SECONDS * number / count)
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, local_addr=(address, 0)
                )
                writer.write(_HEAD if kind == "heads" else body)
                answer = asyncio.create_task(reader.readline())
                while not answer.done():
                    writer.write(b"x")
                    await asyncio.wait([answer], timeout=_DRIP_SECONDS)
                ended[answer.result().decode().strip() or "closed"] += 1
                writer.close()
            except OSError as error:
                ended[type(error).__name__] += 1
            await asyncio.sleep(_DRIP_SECONDS)

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    say(opened=count)
    await asyncio.to_thread(sys.stdin.readline)
    for task in tasks:
        task.cancel()
    say(ended=dict(ended))


def main() -> None:
    kind, port, key, count, address = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    where = (int(port), key, int(count), address)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(idle(*where) if kind == "idle" else drip(kind, *where))


if __name__ == "__main__":
    main()
