"""A client of yagna's service bus: protobuf packets of a handful of kinds, flexbuffers inside.

The bus drops a client that leaves its pings unanswered for about a minute, and ours sleeps whenever
the tests' event loop does (between tests, in tests without one). Dropped, it comes back.
"""

import asyncio
import contextlib
import itertools
import logging
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from flatbuffers import flexbuffers

_log = logging.getLogger(__name__)
Answer = Callable[[Any], Awaitable[Any]]

# Field numbers of the bus's packet.
_HELLO, _REGISTER, _REGISTERED, _UNREGISTER, _CALL, _REPLY, _PING, _PONG = 1, 2, 3, 4, 6, 7, 14, 15
_OK = 0
_DROPPED = -1


def encode(value: Any) -> bytes:
    """The value as the bus's services write it."""
    return bytes(flexbuffers.Dumps(value))


def decode(data: bytes) -> Any:
    """What a service wrote, inflated where it was deflated."""
    with contextlib.suppress(zlib.error):
        data = zlib.decompress(data)
    return flexbuffers.Loads(data) if data else None


class Bus:
    """One connection, made anew when the bus drops it; serves addresses and calls others."""

    def __init__(self) -> None:
        self._services: dict[str, Answer] = {}
        self._waiting: dict[str, asyncio.Future[tuple[int, bytes]]] = {}
        self._registered: asyncio.Queue[int] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = asyncio.Event()
        self._registering = asyncio.Lock()

    async def open(self, socket: Path) -> None:
        self._socket = socket
        await self._connect()
        self._listener = asyncio.create_task(self._keep_listening())

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(str(self._socket))
        hello = _text(1, "cortex-test") + _text(2, "1") + _bytes(3, b"0" * 16)
        self._send(_HELLO, hello)
        self._up.set()

    async def close(self) -> None:
        self._writer.close()
        for task in [self._listener, *self._tasks]:
            task.cancel()
        await asyncio.gather(self._listener, *self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Lose the connection, as when the bus gives us up."""
        self._writer.transport.abort()

    async def serve(self, address: str, answer: Answer) -> None:
        """Answer calls to `address/<method>` with what `answer` returns for the arguments.

        `answer` takes `(method, arguments)` as one tuple.
        """
        await self._up.wait()
        try:
            await self._register(address)
        except ConnectionError:
            await self._up.wait()
            await self._register(address)
        self._services[address] = answer

    async def _register(self, address: str) -> None:
        async with self._registering:  # the answers do not say what they answer
            self._send(_REGISTER, _text(1, address))
            code = await asyncio.wait_for(self._registered.get(), 10)
        if code == _DROPPED:
            raise ConnectionResetError("the bus dropped the connection")
        if code != _OK:
            raise RuntimeError(f"the bus refused {address}: {code}")

    async def unserve(self, address: str) -> None:
        self._services.pop(address, None)
        self._send(_UNREGISTER, _text(1, address))

    async def call(self, caller: str, address: str, arguments: Any) -> Any:
        """Call another service; a refusal of the service is a RuntimeError."""
        try:
            code, body = await self._call(caller, address, encode(arguments))
        except ConnectionError:  # it was dropped meanwhile; what is called here bears a repeat
            code, body = await self._call(caller, address, encode(arguments))
        if code != _OK:
            raise RuntimeError(f"{address}: {code} {body!r}")
        answer = decode(body)
        if isinstance(answer, dict) and "Err" in answer:
            raise RuntimeError(f"{address}: {answer['Err']}")
        return answer["Ok"] if isinstance(answer, dict) and "Ok" in answer else answer

    async def _call(self, caller: str, address: str, data: bytes) -> tuple[int, bytes]:
        await asyncio.wait_for(self._up.wait(), 10)
        number = f"call-{next(self._numbers)}"
        done: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = done
        head = _text(1, caller) + _text(2, address) + _text(3, number)
        self._send(_CALL, head + _bytes(4, data))
        return await asyncio.wait_for(done, 30)

    def _send(self, kind: int, body: bytes) -> None:
        packet = _bytes(kind, body)
        self._writer.write(len(packet).to_bytes(4) + packet)

    async def _keep_listening(self) -> None:
        """Until the daemon has ended; dropped by it, come back and serve as before."""
        while True:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._listen()
            self._up.clear()
            self._writer.close()
            for done in self._waiting.values():
                if not done.done():
                    done.set_exception(ConnectionResetError("the bus dropped the connection"))
            self._waiting.clear()
            if self._registering.locked():
                self._registered.put_nowait(_DROPPED)
            try:
                await self._connect()
            except OSError:
                return
            back = asyncio.create_task(self._serve_again())
            self._tasks.add(back)
            back.add_done_callback(self._tasks.discard)

    async def _serve_again(self) -> None:
        try:
            for address in list(self._services):
                await self._register(address)
        except (RuntimeError, TimeoutError, ConnectionError):
            _log.exception("the bus does not take us back")

    async def _listen(self) -> None:
        while True:
            size = int.from_bytes(await self._reader.readexactly(4))
            for kind, body in _fields(await self._reader.readexactly(size)):
                self._take(kind, _raw(body))

    def _take(self, kind: int, body: bytes) -> None:
        fields = dict(_fields(body))
        if kind == _REGISTERED:
            self._registered.put_nowait(_number(fields.get(1, 0)))
        elif kind == _PING:
            self._send(_PONG, b"")
        elif kind == _REPLY:
            waiting = self._waiting.pop(_string(fields.get(1, b"")), None)
            if waiting is not None and not waiting.done():
                waiting.set_result((_number(fields.get(2, 0)), _raw(fields.get(4, b""))))
        elif kind == _CALL:
            task = asyncio.create_task(self._answer(fields))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, fields: dict[int, bytes | int]) -> None:
        address, _, method = _string(fields[2]).rpartition("/")
        number = _string(fields[3])
        service = self._services.get(address)
        if service is None:
            self._send(_REPLY, _text(1, number) + _varint_field(2, 400))
            return
        try:
            answer = await service((method, decode(_raw(fields.get(4, b"")))))
        except Exception as error:
            # Without a reply the caller would wait for its timeout.
            _log.exception("%s/%s failed", address, method)
            answer = {"Err": {"badRequest": f"{type(error).__name__}: {error}"}}
        self._send(_REPLY, _text(1, number) + _bytes(4, encode(answer)))


def _fields(data: bytes) -> list[tuple[int, bytes | int]]:
    """The fields of a protobuf message: only varints and byte strings occur here."""
    fields: list[tuple[int, bytes | int]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 2:
            fields.append((tag >> 3, data[at : at + value]))
            at += value
        else:
            fields.append((tag >> 3, value))
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(field: int, data: bytes) -> bytes:
    return _to_varint(field << 3 | 2) + _to_varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _varint_field(field: int, value: int) -> bytes:
    return _to_varint(field << 3) + _to_varint(value)


def _raw(value: bytes | int) -> bytes:
    return value if isinstance(value, bytes) else b""


def _string(value: bytes | int) -> str:
    return _raw(value).decode()


def _number(value: bytes | int) -> int:
    return value if isinstance(value, int) else 0
