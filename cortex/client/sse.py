"""Server-sent events from bytes (the WHATWG format). No I/O."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SseEvent:
    """One event; `id` is the last id that the stream has named."""

    event: str
    data: str
    id: str


class SseDecoder:
    """Feed it what arrives; an event that was cut off by the end of the stream is dropped."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        # Counts once its event is whole: else the event that was cut off would be skipped.
        self._id = last_id

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that are whole now."""
        # Only these end a line: `splitlines` would also cut at characters inside the data.
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events = [self._line(line.removesuffix(b"\r").decode("utf-8", "replace")) for line in lines]
        return [event for event in events if event is not None]

    def _line(self, line: str) -> SseEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> SseEvent | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        self.last_id = self._id
        if not data:
            return None
        return SseEvent(event or "message", "\n".join(data), self.last_id)
