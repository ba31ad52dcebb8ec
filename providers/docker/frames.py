"""Decoding the engine's log stream: frames, timestamps, lines, and cursors to go on from.

A frame is one record: eight bytes of header (stream, length), a timestamp, a space, and text. A
record without a newline at its end is continued by the next one of the same stream.

A cursor must name a place exactly, but timestamps repeat (Podman 4 writes whole seconds) and need
not be in order (two streams). So a place is the highest timestamp so far and the number of records
since the first one that has it. If the other stream has an unfinished line at that moment, the
cursor also names the place where that line begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from providers.base import LogLine
from providers.lines import MAX_LINE, letter_border, text_of, without_void

Stream = Literal["stdout", "stderr"]
_HEADER = 8
# Room for the timestamp in front of a line's text.
_KEEP = MAX_LINE + 64


@dataclass(frozen=True)
class Place:
    """After `count` records, counted from the first one with the timestamp (ns) or a later one."""

    time: int = 0
    count: int = 0

    def after(self, time: int) -> "Place":
        return Place(time, 1) if time > self.time else Place(self.time, self.count + 1)


@dataclass(frozen=True)
class Cursor:
    """Where reading goes on: after `place`, with the unfinished line that began after `open`."""

    place: Place = field(default_factory=Place)
    open: Place | None = None
    open_stream: Stream = "stdout"

    @property
    def since(self) -> int:
        """Unix seconds from which the engine must be asked, with room for disorder."""
        first = min(self.place.time, self.open.time if self.open else self.place.time)
        return max(0, first // 1_000_000_000 - 2)

    def __str__(self) -> str:
        text = f"{self.place.time}.{self.place.count}"
        if self.open:
            text += f"/{self.open.time}.{self.open.count}.{self.open_stream}"
        return text

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """The cursor in the text; the beginning for an unknown one (rather twice than never)."""
        try:
            head, _, tail = (text or "").partition("/")
            time, count = head.split(".")
            place = Place(int(time), int(count))
            if not tail:
                return cls(place)
            time, count, stream = tail.split(".")
            return cls(
                place, Place(int(time), int(count)), "stderr" if stream == "stderr" else "stdout"
            )
        except ValueError:
            return cls()


class _Skip:
    """Passes over the records up to a place."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._counted = 0
        self._anchored = False

    def passed(self, time: int) -> bool:
        """Whether the record with this time comes after the place."""
        self._anchored = self._anchored or time >= self._place.time
        if self._anchored and self._counted >= self._place.count:
            return True
        self._counted += self._anchored
        return False


@dataclass
class _Partial:
    """A line that has begun."""

    begun_after: Place
    time: int
    text: bytes

    def add(self, text: bytes, before: Place, time: int) -> None:
        """Take a record that began after the place `before`."""
        joined = self.text + text
        self.text = without_void(joined)
        if len(self.text) <= len(text) < len(joined):
            # Nothing of the earlier records is left, as in a progress bar: begin to read here.
            self.begun_after, self.time = before, time


class LogDecoder:
    """Turns the bytes of one log request into lines, beginning after a cursor."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        """After the last line that came out."""
        self._frames = _Frames()
        self._skip = _Skip(cursor.place)
        self._open_skip = _Skip(cursor.open or cursor.place)
        self._resumed = cursor
        self._place = Place()
        self._partial: dict[Stream, _Partial] = {}
        self._times: tuple[bytes, int] = (b"", 0)

    @property
    def unfinished(self) -> bool:
        return bool(self._partial)

    def partials(self) -> Iterator[LogLine]:
        """What there is of the lines that have begun and not ended."""
        for stream, part in self._partial.items():
            yield _line(stream, part, self.cursor, partial=True)

    def feed(self, data: bytes) -> Iterator[LogLine]:
        for stream, payload, ends in self._frames.feed(data):
            yield from self._record(stream, payload, ends)

    def flush(self) -> Iterator[LogLine]:
        """The unfinished lines, once it is sure that nothing more comes."""
        for stream in sorted(self._partial, key=lambda name: self._partial[name].time):
            yield self._emit(stream, self._partial.pop(stream), self._place)

    def _record(self, stream: Stream, payload: bytes, ends: bool) -> Iterator[LogLine]:
        stamp, space, text = payload.partition(b" ")
        time = self._time(stamp)
        if not space:
            text = b""
        before = self._place
        self._place = before.after(time)
        in_open = self._open_skip.passed(time)
        # Seen before are those up to the cursor, except for the unfinished line of one stream.
        resumed = self._resumed.open is not None and stream == self._resumed.open_stream
        if not self._skip.passed(time) and not (in_open and resumed):
            return
        begun = self._partial.pop(stream, None)
        if begun is not None and len(begun.text) + len(text) <= MAX_LINE:
            self._partial[stream] = begun
        elif begun is not None:
            border = letter_border(begun.text + text, len(begun.text))
            begun.text, text = begun.text[:border], begun.text[border:] + text
            yield self._emit(stream, begun, before)
        part = self._partial.setdefault(stream, _Partial(before, time, b""))
        part.add(text, before, time)
        if ends:
            yield self._emit(stream, self._partial.pop(stream), self._place)

    def _emit(self, stream: Stream, part: _Partial, place: Place) -> LogLine:
        other = next(iter(self._partial), None)
        self.cursor = (
            Cursor(place)
            if other is None
            else Cursor(place, self._partial[other].begun_after, other)
        )
        return _line(stream, part, self.cursor)

    def _time(self, stamp: bytes) -> int:
        known, time = self._times
        if stamp != known:
            time = _nanoseconds(stamp, time)
            self._times = (stamp, time)
        return time


def _line(stream: Stream, part: _Partial, cursor: Cursor, *, partial: bool = False) -> LogLine:
    second, rest = divmod(part.time, 1_000_000_000)
    return LogLine(
        time=datetime.fromtimestamp(second, UTC).replace(microsecond=rest // 1000),
        stream=stream,
        text=text_of(part.text),
        cursor=str(cursor),
        partial=partial,
    )


class _Frames:
    """Cuts the byte stream into records; keeps no more of one than a line may have."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self._kept = bytearray()
        self._last = 0
        self._over = 0

    def feed(self, data: bytes) -> Iterator[tuple[Stream, bytes, bool]]:
        """Stream, text (with its timestamp, without newline) and whether the line ends here."""
        view = memoryview(data)
        while view:
            if len(self._header) < _HEADER:
                take = min(_HEADER - len(self._header), len(view))
                self._header += view[:take]
                view = view[take:]
                if len(self._header) < _HEADER:
                    return
                self._left = int.from_bytes(self._header[4:8], "big")
            take = min(self._left, len(view))
            if take:
                room = max(0, _KEEP - len(self._kept))
                self._kept += view[: min(take, room)]
                self._over += max(0, take - room)
                self._last = view[take - 1]
                self._left -= take
                view = view[take:]
            if self._left == 0:
                yield self._complete()

    def _complete(self) -> tuple[Stream, bytes, bool]:
        stream: Stream = "stderr" if self._header[0] == 2 else "stdout"
        ends = self._last == 0x0A
        payload = bytes(self._kept)
        if ends:
            payload = payload.removesuffix(b"\n")
        if self._over:  # engines write records of 16 KiB
            payload += b" [cortex: %d bytes more in this line]" % (self._over - ends)
        self._header.clear()
        self._kept.clear()
        self._last = self._over = 0
        return stream, payload, ends


def _nanoseconds(stamp: bytes, fallback: int) -> int:
    """A timestamp in nanoseconds since 1970; the one before for a record without a good one."""
    text = stamp.decode("ascii", errors="replace")
    base, fraction, zone = text[:19], "", text[19:]
    if zone.startswith("."):
        digits = len(zone) - len(zone[1:].lstrip("0123456789"))
        fraction, zone = zone[1:digits], zone[digits:]
    try:
        seconds = datetime.fromisoformat(base + (zone or "Z")).timestamp()
    except ValueError:
        return fallback
    return int(seconds) * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))
