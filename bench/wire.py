"""A lean HTTP client: what is measured is the server, not the client beside it on the machine."""

import asyncio
import time
from dataclasses import dataclass, field


@dataclass
class Sample:
    """Latencies in seconds and the span they were taken in."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def row(self, name: str) -> str:
        failed = sum(count for status, count in self.statuses.items() if status >= 400)
        return (
            f"   {name:<26} {self.rate:8.1f}/s   p50 {self.percentile(0.5):7.1f} ms   "
            f"p99 {self.percentile(0.99):7.1f} ms   {len(self.latencies)} calls, {failed} failed"
        )


class Wire:
    """One keep-alive connection."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of one request."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        status = int(answer[0].split()[1])
        length = next((int(h[15:]) for h in answer if h.startswith("content-length:")), 0)
        return status, await reader.readexactly(length)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def load(
    port: int,
    key: str,
    *,
    clients: int,
    seconds: float,
    request: tuple[str, str, bytes],
    pause: float = 0,
) -> Sample:
    """The same request from several clients at once, each as fast as it gets answers.

    With `pause`, each waits so many seconds between calls: an observer, not a load.
    """
    sample = Sample()
    until = time.monotonic() + seconds

    async def one() -> None:
        wire = Wire(port, key)
        while (started := time.monotonic()) < until:
            status, _ = await wire.call(*request)
            sample.latencies.append(time.monotonic() - started)
            sample.statuses[status] = sample.statuses.get(status, 0) + 1
            if pause:
                await asyncio.sleep(pause)
        wire.close()

    started = time.monotonic()
    await asyncio.gather(*(one() for _ in range(clients)))
    sample.seconds = time.monotonic() - started
    return sample
