"""Reading the log that a shim writes (its form is told in `shim.log`)."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal

from providers.base import LogLine
from providers.lines import MAX_LINE, letter_border, text_of

_HEAD = 14
_PLACE = 20
_BATCH_LINES = 1000
_BATCH_BYTES = 2**20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Record:
    time: datetime
    stream: Literal["stdout", "stderr"]
    data: bytes


class LogReader:
    """Reads on from a cursor: `<place of a record>:<bytes of it that were read>`."""

    def __init__(self, folder: Path, since: str | None) -> None:
        """Raises: ValueError: the cursor is none of ours."""
        self._folder = folder
        place, _, inner = (since or "0:0").partition(":")
        self._place, self._inner = int(place), int(inner)
        self._seen: tuple[int, ...] | None = None
        self._begun: dict[str, bytes] = {}
        self._current, self._start = folder, 0

    def has_news(self) -> bool:
        """Whether something was written since the last `read`; costs two looks, no thread."""
        return self._mark() != self._seen

    def read(self) -> list[LogLine]:
        """The next lines, at most a batch; empty when there are none now."""
        self._seen = self._mark()
        lines: list[LogLine] = []
        try:
            if self._choose():
                with self._current.open("rb") as file:
                    self._read_file(file, lines)
        except FileNotFoundError:
            # Dropped while we came to it, or forgotten; the next call sees which.
            self._seen = None
        if lines:
            self._seen = None
        return lines

    def partials(self) -> list[LogLine]:
        """The lines that have begun and not ended, once `read` has come to the end of the log."""
        partials: list[LogLine] = []
        for stream, path in self._open_files():
            try:
                begun = path.read_bytes()
            except FileNotFoundError:
                continue
            # Behind another place: the line has ended, or the shim will show it anew.
            place, text = begun[:_PLACE], begun[_PLACE:]
            if begun == self._begun.get(stream) or place != b"%020d" % self._place or not text:
                continue
            self._begun[stream] = begun
            partials.append(
                LogLine(
                    time=datetime.now(UTC),
                    stream="stderr" if stream == "e" else "stdout",
                    text=text_of(text),
                    cursor=f"{self._place}:{self._inner}",
                    partial=True,
                )
            )
        return partials

    def _open_files(self) -> list[tuple[str, Path]]:
        return [(stream, self._folder.parent / f"begun.{stream}") for stream in "oe"]

    def _mark(self) -> tuple[int, ...]:
        files = [path for _, path in self._open_files()]
        times = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in files)
        try:
            return self._folder.stat().st_mtime_ns, self._current.stat().st_size, *times
        except FileNotFoundError:
            return (0, 0)

    def _choose(self) -> bool:
        """Go to the file that holds what comes next; false when nothing is there yet."""
        # First the list, then the sizes: a file that has a successor is complete.
        for start in sorted(int(name) for name in os.listdir(self._folder)):
            self._start = start
            self._current = self._folder / f"{start:020d}"
            if self._place < start + self._current.stat().st_size:
                return True
        return False

    def _read_file(self, file: BinaryIO, lines: list[LogLine]) -> None:
        if self._start > self._place:
            file.seek(0)
            first = _record(file)
            if first is None:
                return
            lines.append(self._gap(first))
            self._place, self._inner = self._start, 0
        file.seek(self._place - self._start)
        size = 0
        while len(lines) < _BATCH_LINES and size < _BATCH_BYTES:
            record = _record(file)
            if record is None:
                return
            size += len(record.data)
            self._cut(record, lines)

    def _gap(self, first: _Record) -> LogLine:
        dropped = self._start - self._place
        text = f"[cortex: about {dropped} bytes of output were dropped here; there was too much]"
        return LogLine(time=first.time, stream="stderr", text=text, cursor=f"{self._start}:0")

    def _cut(self, record: _Record, lines: list[LogLine]) -> None:
        data, after = record.data, self._place + _HEAD + len(record.data)
        while self._inner < len(data):
            end = data.find(b"\n", self._inner)
            end = len(data) if end < 0 else end
            raw = data[self._inner : end]
            taken = letter_border(raw, MAX_LINE)
            self._inner += taken
            if self._inner == end:
                self._inner += 1
            whole = self._inner >= len(data)
            cursor = f"{after}:0" if whole else f"{self._place}:{self._inner}"
            text = text_of(raw[:taken])
            lines.append(LogLine(time=record.time, stream=record.stream, text=text, cursor=cursor))
        self._place, self._inner = after, 0


def _record(file: BinaryIO) -> _Record | None:
    """The record here; None while it is not there as a whole."""
    head = file.read(_HEAD)
    if len(head) < _HEAD:
        return None
    size = int.from_bytes(head[10:14], "big")
    data = file.read(size)
    if len(data) < size:
        return None
    moment = _EPOCH + timedelta(microseconds=int.from_bytes(head[2:10], "big"))
    return _Record(moment, "stderr" if head[1:2] == b"e" else "stdout", data)
