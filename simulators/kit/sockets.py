"""A TCP connection, with TLS over it where wanted, whose every step and end can be chosen and seen.

asyncio's own TLS hides what matters here: whether a side said close_notify before it hung up, and
whether TCP ended with FIN or RST.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Literal

TcpEnd = Literal["fin", "rst"]

_CHUNK = 64 * 1024
_SHUT_WAIT = 2.0


@dataclass(frozen=True)
class End:
    """How a side ended its connection."""

    notify: bool
    tcp: TcpEnd


class Wire:
    """One connection. Reads and writes may run in two tasks."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext | None = None,
        *,
        server_side: bool = False,
        host: str | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if context is not None:
            self._tls = context.wrap_bio(self._in, self._out, server_side, host)
        self.ended: End | None = None
        """How the other side ended it, once it has."""

    async def handshake(self) -> None:
        """TLS's beginning; nothing without TLS.

        Raises:
            ssl.SSLError, ConnectionError: it failed; the other side was told.
        """
        while self._tls is not None:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise ConnectionResetError("hung up in the handshake") from None
            except ssl.SSLError:
                await self._flush()
                raise
            else:
                await self._flush()
                return

    async def read(self) -> bytes:
        """What comes next; nothing at the end, of which `ended` tells more then."""
        if self._tls is None:
            data = b"" if self.ended else await self._receive()
            self.ended = self.ended or (None if data else End(False, "fin"))
            return data
        while self.ended is None:
            try:
                data = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    self.ended = self.ended or End(False, "fin")
            else:
                if data:
                    return data
                await self._drop_rest()
                self.ended = End(True, self.ended.tcp if self.ended else "fin")
        return b""

    async def write(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            ConnectionError: the connection is gone.
        """
        if self._tls is None:
            self._writer.write(data)
        else:
            self._tls.write(data)
            self._writer.write(self._out.read())
        await self._writer.drain()

    async def end(self, how: End) -> None:
        """End it exactly so, and let go of it."""
        try:
            if how.notify and self._tls is not None:
                self._notify(self._tls)
                await self._flush()
            if how.tcp == "rst":
                await self._writer.drain()
                self._reset_at_close()
                self._writer.transport.abort()
                return
            if self._writer.can_write_eof():
                self._writer.write_eof()
            await self._drop_rest()
        except (ConnectionError, OSError):
            pass
        finally:
            self._writer.close()

    def _notify(self, tls: ssl.SSLObject) -> None:
        with contextlib.suppress(ssl.SSLError):  # it has said its own, and wants the other's
            tls.unwrap()

    def _reset_at_close(self) -> None:
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _drop_rest(self) -> None:
        """Read to TCP's end: closing with something unread would send RST in place of FIN."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SHUT_WAIT):
                while await self._receive():
                    pass

    async def _fill(self) -> bool:
        data = await self._receive()
        if data:
            self._in.write(data)
        return bool(data)

    async def _receive(self) -> bytes:
        try:
            return await self._reader.read(_CHUNK)
        except ConnectionResetError:
            self.ended = End(False, "rst")
            return b""

    async def _flush(self) -> None:
        if self._out.pending:
            self._writer.write(self._out.read())
            await self._writer.drain()
