"""Live streams that survive a lost connection. No I/O: both clients drive it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import httpx

from cortex.client.encoding import check_sendable
from cortex.client.errors import BadAnswer
from cortex.client.retry import RetryPolicy, Tries
from cortex.client.sse import SseDecoder
from cortex.client.urls import asked_url

T = TypeVar("T")
Params = tuple[tuple[str, str], ...]

# The server says something at least every 15 s; silence means that the connection is dead.
IDLE = 45.0
_CONNECT = 5.0
_SLACK = 1.0


@dataclass(frozen=True)
class Stream(Generic[T]):
    """A live stream: where it is and how its events are read.

    Attributes:
        params: Of the first connection.
        again: Of every later one, before the resume parameter.
        resume: The query parameter that, besides `Last-Event-ID`, names the last event seen.
    """

    path: str
    parse: Callable[[str], T]
    params: Params = ()
    again: Params = ()
    resume: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    last_id: str = ""

    def __post_init__(self) -> None:
        check_sendable(*(text for pair in self.params for text in pair))


class Follower(Generic[T]):
    """One reading of a stream: what to send, what has come, whether and when to reconnect."""

    def __init__(
        self,
        stream: Stream[T],
        *,
        policy: RetryPolicy,
        url: str,
        deadline: float | None = None,
    ) -> None:
        """Begin before the first connection.

        Args:
            stream: What to read.
            policy: How often to try in a row.
            url: The server's, for errors.
            deadline: Stop at this time (`time.monotonic`); None: never.
        """
        self.ended = False
        self._stream = stream
        self._deadline = deadline
        self._tries = Tries(policy, url)
        self._policy = policy
        self._last_id = stream.last_id
        self._connected = False
        self._decoder = SseDecoder()
        self._read_timeout = IDLE

    @property
    def path(self) -> str:
        return self._stream.path

    def params(self) -> Params:
        """The query of the next connection."""
        if not self._connected or not self._last_id:
            return self._stream.params
        resume = self._stream.resume
        return self._stream.again + (((resume, self._last_id),) if resume else ())

    def headers(self) -> dict[str, str]:
        """The headers of the next connection."""
        headers = {"Accept": "text/event-stream", **self._stream.headers}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        return headers

    def timeout(self) -> httpx.Timeout:
        """The time limits of the next connection."""
        self._read_timeout = IDLE
        if self._deadline is not None:
            self._read_timeout = min(IDLE, max(0.01, self._deadline - time.monotonic()))
        connect = min(_CONNECT, self._read_timeout)
        return httpx.Timeout(_CONNECT, read=self._read_timeout, connect=connect)

    def opened(self, response: httpx.Response) -> None:
        """The connection stands.

        Raises:
            BadAnswer: what answers is no event stream.
        """
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise BadAnswer(f"{asked_url(response)} sent `{kind}` where a live stream was expected")
        self._decoder = SseDecoder(self._last_id)
        self._connected = True

    def received(self, chunk: bytes) -> Iterator[T]:
        """The items in what has arrived; sets `ended` after the last one."""
        for event in self._decoder.feed(chunk):
            self._tries.reset()
            if event.event == "end":
                self.ended = True
                return
            self._last_id = event.id
            yield self._item(event.data)
        self._last_id = self._decoder.last_id

    def enough(self) -> bool:
        """Whether to leave this connection: the deadline is (nearly) over."""
        if self._deadline is None:
            return False
        rest = self._deadline - time.monotonic()
        self.ended = self.ended or rest <= 0
        return self.ended or self._read_timeout > rest + _SLACK

    def refused(self, response: httpx.Response) -> float:
        """Seconds to wait after an error was the answer; `ApiError` if there is no hope."""
        return self._wait(self._tries.refused(response))

    def lost(self, error: httpx.TransportError) -> float:
        """Seconds to wait after the connection broke; `ConnectionFailed` if too often."""
        if self.enough():
            return 0.0
        if isinstance(error, httpx.ReadTimeout) and self._connected:
            return 0.0  # silence is no failure of the server: ask again from the last event
        return self._wait(self._tries.lost(error))

    def closed(self) -> float:
        """Seconds to wait after the server closed the stream before its end."""
        if self.ended or self.enough():
            return 0.0
        return self.lost(httpx.RemoteProtocolError("the server closed the stream"))

    def _wait(self, seconds: float) -> float:
        if self._deadline is None:
            return seconds
        return max(0.0, min(seconds, self._deadline - time.monotonic()))

    def _item(self, data: str) -> T:
        try:
            return self._stream.parse(data)
        except ValueError as error:
            raise BadAnswer(f"the stream {self.path} sent something unknown: {error}") from error
