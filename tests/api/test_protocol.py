"""Connections that would hold the server up, with real sockets."""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect

from api import protocol
from api.protocol import MAX_HEAD, BoundedProtocol
from cortex.schemas.server import Problem
from cortex.settings import Settings
from tests.api.support import JOBS, KEY, serve
from tests.support import eventually, patience

HOST = b"Host: 127.0.0.1\r\n"
KEYED = HOST + f"Authorization: Bearer {KEY}\r\n".encode()
POST = f"POST {JOBS} HTTP/1.1\r\n".encode()


class Line:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(patience(30)):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    async def head(self) -> bytes:
        """The head of the next answer."""
        async with asyncio.timeout(patience(30)):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def body(self, head: bytes) -> bytes:
        """The body of the answer with this head."""
        length = re.search(rb"content-length: ([0-9]+)", head.lower())
        assert length is not None, head
        async with asyncio.timeout(patience(30)):
            return await self._reader.readexactly(int(length[1]))

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def address(settings: Settings, providers: None) -> AsyncIterator[tuple[str, int]]:
    async with serve(settings) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


@pytest.fixture
async def line(address: tuple[str, int]) -> AsyncIterator[Line]:
    one = Line(*await asyncio.open_connection(*address))
    yield one
    one.close()


def check_refusal(answer: bytes, status: int, code: str) -> None:
    """One answer, a problem as all others."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status), answer
    assert b"content-type: application/problem+json" in head
    assert b"content-length: %d" % len(body) in head
    assert b"connection: close" in head
    problem = Problem.model_validate_json(body)
    assert (problem.status, problem.code) == (status, code)


class TestHeads:
    async def test_one_that_never_ends(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.3)
        # The one that comes first: its time began with the connection.
        await line.send(b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await line.head()).startswith(b"HTTP/1.1 200")
        await line.send(b"GET /health/live HTTP/1.1\r\nHo")
        rest = await line.rest()
        check_refusal(rest[rest.index(b"HTTP/1.1 408") :], 408, "request_timeout")

    async def test_one_that_drips(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.3)
        await line.send(b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
        await line.head()

        async def drip() -> None:
            while True:
                await line.send(b"X-A: b\r\n")
                await asyncio.sleep(0.02)

        await line.send(b"GET /health/live HTTP/1.1\r\n" + HOST)
        dripping = asyncio.create_task(drip())
        try:
            assert b"HTTP/1.1 408" in await line.rest()
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)

    async def test_blank_lines_are_no_request(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.3)
        await line.send(b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
        await line.head()
        await line.send(b"\r\n")
        assert b"HTTP" not in await line.rest()

    async def test_a_connection_that_asks_nothing(
        self, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.3)
        silent = Line(*await asyncio.open_connection(*address))
        assert await silent.rest() == b""
        silent.close()

    @pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: "])
    async def test_one_of_ten_megabytes(self, line: Line, start: bytes) -> None:
        await line.send(start)
        sent = 0
        try:
            while sent < 10 * 2**20:
                await line.send(b"a" * MAX_HEAD)
                sent += MAX_HEAD
        except ConnectionError:
            pass
        rest = await line.rest()
        assert sent < 10 * 2**20
        assert rest == b"" or b"HTTP/1.1 431" in rest

    @pytest.mark.parametrize("pieces", [1, 3])
    @pytest.mark.parametrize("start", [b"GET /health/live?a=", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
    async def test_a_large_one_however_it_comes(
        self, line: Line, pieces: int, start: bytes
    ) -> None:
        end = b"\r\n\r\n" if b"HTTP" in start else b" HTTP/1.1\r\nHost: a\r\n\r\n"
        request = start + b"a" * 70_000 + end
        size = len(request) // pieces + 1
        for begin in range(0, len(request), size):
            await line.send(request[begin : begin + size])
        check_refusal(await line.rest(), 431, "request_header_fields_too_large")

    async def test_a_large_one_behind_another(self, line: Line) -> None:
        """Nothing is said in the middle of the first answer; the second is not worked on."""
        small = b"GET /health/live HTTP/1.1\r\n" + HOST
        await line.send(small + b"\r\n" + small + b"X: " + b"a" * 70_000 + b"\r\n\r\n")
        assert (await line.rest()).count(b"HTTP/1.1 200") <= 1

    @pytest.mark.parametrize("host", [b"Host: a\r\n", KEYED])
    async def test_a_large_one_of_a_websocket(self, line: Line, host: bytes) -> None:
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nX: " + b"a" * 70_000
        await line.send(b"GET /api/v1/ws HTTP/1.1\r\n" + host + upgrade + b"\r\n\r\n")
        check_refusal(await line.rest(), 431, "request_header_fields_too_large")

    async def test_with_a_body_behind_it(self, line: Line) -> None:
        large = b"X: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
        await line.send(POST + KEYED + large)
        check_refusal(await line.rest(), 431, "request_header_fields_too_large")

    async def test_one_that_is_none(self, line: Line) -> None:
        await line.send(b"GET / NONSENSE\r\n\r\n")
        check_refusal(await line.rest(), 400, "bad_request")

    async def test_a_large_one_that_fits(self, line: Line) -> None:
        large = b"X-Large: " + b"a" * (MAX_HEAD - 1000) + b"\r\n\r\n"
        request = b"GET /health/live HTTP/1.1\r\n" + HOST + large
        for _ in range(3):
            await line.send(request[:100])
            await line.send(request[100:])
            answered = await line.head()
            assert answered.startswith(b"HTTP/1.1 200")
            await line.body(answered)


async def test_a_websocket_has_no_head_to_wait_for(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.2)
    host, port = address
    key = {"authorization": f"Bearer {KEY}"}
    async with connect(f"ws://{host}:{port}/api/v1/ws", additional_headers=key) as one:
        until = time.monotonic() + 3 * BoundedProtocol.head_seconds
        while time.monotonic() < until:
            async with asyncio.timeout(patience(20)):
                await (await one.ping())
            await asyncio.sleep(0.02)


class TestBodies:
    async def test_the_rest_after_the_answer(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody unknown may hold a connection by a body that does not come."""
        monkeypatch.setattr(BoundedProtocol, "rest_seconds", 0.3)
        await line.send(POST + HOST + b"Content-Length: 100000\r\n\r\n{")
        assert (await line.rest()).startswith(b"HTTP/1.1 401")

    async def test_one_of_ten_megabytes_is_refused_unread(self, line: Line) -> None:
        await line.send(POST + KEYED + b"Content-Length: 10485760\r\n\r\n")
        assert (await line.head()).startswith(b"HTTP/1.1 413")

    async def test_ten_megabytes_without_a_length(self, line: Line) -> None:
        await line.send(POST + KEYED + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
        try:
            for _ in range(160):
                await line.send(chunk)
        except ConnectionError:
            pass
        assert (await line.head()).startswith(b"HTTP/1.1 413")

    async def test_one_that_drips_does_not_hold_the_server(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.admission._BODY_SECONDS", 0.3)
        await line.send(POST + KEYED + b"Content-Length: 100000\r\n\r\n")

        async def drip() -> None:
            while True:
                await line.send(b" ")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        try:
            assert (await line.head()).startswith(b"HTTP/1.1 408")
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)

    async def test_the_connection_is_good_after_a_body_that_was_refused(self, line: Line) -> None:
        body = b"a" * (3 * 2**20)
        length = f"Content-Length: {len(body)}\r\n\r\n".encode()
        await line.send(POST + KEYED + length + body)
        answered = await line.head()
        assert answered.startswith(b"HTTP/1.1 413")
        await line.body(answered)
        await line.send(f"GET {JOBS} HTTP/1.1\r\n".encode() + KEYED + b"\r\n")
        assert b"HTTP/1.1 200" in await line.head()


class TestReaders:
    async def test_one_that_takes_nothing(
        self, settings: Settings, providers: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BoundedProtocol, "stall_seconds", 0.3)
        async with serve(settings) as (url, server):
            host, port = url.removeprefix("http://").split(":")
            silent = socket.socket()
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(silent, (host, int(port)))
            # Several at once: more than the buffers of the system hold.
            asked = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + b"\r\n"
            await loop.sock_sendall(silent, asked * 8)
            connections = server.server_state.connections

            async def taken() -> bool:
                return len(connections) == 1

            async def given_up() -> bool:
                return not connections

            await eventually(taken)
            await eventually(given_up)
            silent.close()

    async def test_one_that_takes_its_time(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BoundedProtocol, "stall_seconds", 5.0)
        await line.send(b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + b"\r\n")
        answered = await line.head()
        assert len(await line.body(answered)) > 1_000_000


class TestInjection:
    @pytest.mark.parametrize(
        "head",
        [
            b"X-Request-ID: a\nSet-Cookie: b=c\r\n",
            b"X-Request-ID: a\rSet-Cookie: b=c\r\n",
            b"X-Request-ID: a\0b\r\n",
            b"X-Request-ID : a\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: -1\r\n",
            b" folded: a\r\n",
        ],
    )
    async def test_no_head_becomes_two(self, line: Line, head: bytes) -> None:
        await line.send(b"GET /health/live HTTP/1.1\r\n" + HOST + head + b"\r\n")
        answered = await line.head()
        assert b"set-cookie" not in answered.lower()
        assert answered.startswith((b"HTTP/1.1 400", b"HTTP/1.1 200"))

    @pytest.mark.parametrize("wicked", ["a\r\nSet-Cookie: b=c", "a\nb", "a\x1b[2J", "a\0", "a\x9b"])
    async def test_no_name_or_label_has_line_ends(self, line: Line, wicked: str) -> None:
        good = {"name": "a", "command": ["true"]}
        bodies: list[dict[str, object]] = [
            {**good, "name": wicked},
            {**good, "labels": {"team": wicked}},
            {**good, "labels": {wicked: "team"}},
        ]
        for spec in bodies:
            body = json.dumps(spec).encode()
            length = f"Content-Length: {len(body)}\r\n\r\n".encode()
            await line.send(POST + KEYED + length + body)
            answered = await line.head()
            assert answered.startswith(b"HTTP/1.1 422"), spec
            assert b"set-cookie" not in answered.lower()
            await line.body(answered)

    @pytest.mark.parametrize("path", ["%0d%0aSet-Cookie:%20a=b", "a%0aSet-Cookie:b", "%1b[31m"])
    async def test_a_path_with_line_ends(self, line: Line, path: str) -> None:
        await line.send(f"GET /api/v1/{path} HTTP/1.1\r\n".encode() + KEYED + b"\r\n")
        answered = await line.head()
        assert answered.startswith(b"HTTP/1.1 404")
        assert b"set-cookie" not in answered.lower()


def test_the_limits_are_for_people() -> None:
    assert protocol.BoundedProtocol.head_seconds >= 10
    assert MAX_HEAD >= 16 * 1024
