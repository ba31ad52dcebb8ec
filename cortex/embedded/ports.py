"""Who listens where, and plain HTTP probes of our own servers."""

import asyncio
import contextlib
import errno
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from cortex.embedded.config import LOOPBACK, PORT_OPTIONS, PortName
from cortex.embedded.errors import PortTaken


@dataclass(frozen=True)
class Listener:
    """The process behind a port, as far as the system tells us."""

    pid: int
    name: str
    command: str


def can_bind(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now.

    Raises:
        PortTaken: the system does not let this user listen on that address or port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as err:
            if err.errno == errno.EADDRINUSE:
                return False
            raise PortTaken(
                f"Cannot listen on {host}, port {port}: {err.strerror}. "
                "Choose another port or address."
            ) from None
    return True


def listener(port: int) -> Listener | None:
    """Who listens on a port; None if nobody does or the system does not tell."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr:
                continue
            if connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                if process.status() != psutil.STATUS_ZOMBIE:  # that one is closing
                    return Listener(process.pid, process.name(), " ".join(process.cmdline()))
    return None


def taken(name: PortName, port: int, who: Listener | None) -> PortTaken:
    """The message for the person who started us."""
    by = f"process {who.pid} ({who.name})" if who else "another process"
    return PortTaken(
        f"Port {port} ({name.replace('_', ' ')}) is taken by {by}. "
        f"Stop it, or start with {PORT_OPTIONS[name]} PORT."
    )


async def http_status(url: str, timeout: float = 2.0) -> int | None:
    """The status code of a GET; None if nothing (sensible) answers in time (seconds)."""
    try:
        async with asyncio.timeout(timeout):
            return await _get(url)
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


async def _get(url: str) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
