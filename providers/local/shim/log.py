"""The log of a job as the shim writes it."""

import os
import time

from providers.lines import MAX_LINE, letter_border, without_void

CHUNK = 32 * 1024
SHOW = 0.25
"""Seconds between two looks at a line that has begun."""


class Log:
    """A bounded log: the first quarter, and the newest of the rest.

    Records are `L`, the stream (`o`, `e`), 8 bytes of microseconds, 4 bytes of length, and whole
    lines. A file is named after the place of its first byte in the endless log, so a gap between
    two files shows what was dropped.
    """

    def __init__(self, folder: str, max_bytes: int) -> None:
        self.folder = folder
        self.limit = max_bytes // 4
        self.later_limit = max_bytes // 8
        self.position = 0
        self.size = 0
        self.last_time = 0
        self.tails: list[str] = []
        self.file = self._open()

    def _open(self) -> int:
        self.size = 0
        path = os.path.join(self.folder, f"{self.position:020d}")
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _rotate(self) -> None:
        previous, self.file = self.file, self._open()
        os.close(previous)
        self.limit = self.later_limit
        self.tails.append(f"{self.position:020d}")
        if len(self.tails) > 6:
            os.unlink(os.path.join(self.folder, self.tails.pop(0)))

    def write(self, stream: bytes, data: bytes) -> None:
        self.last_time = max(self.last_time, time.time_ns() // 1000)
        head = b"L" + stream + self.last_time.to_bytes(8, "big") + len(data).to_bytes(4, "big")
        record = head + data
        try:
            if self.size + len(record) > self.limit:
                self._rotate()
            written = os.write(self.file, record)
            if written < len(record):
                os.ftruncate(self.file, self.size)
                return
        except OSError:
            return  # A full disk must stop neither the job nor its end; the output is lost.
        self.size += written
        self.position += written


class Pipe:
    """One output stream of the job, cut into whole lines.

    What there is of a line that has not ended stands in a file `begun.<stream>` beside the log,
    behind the place of the log that it follows: 20 digits.
    """

    def __init__(self, log: Log, stream: bytes) -> None:
        self.fd, self.writer = os.pipe()
        self.log, self.stream, self.tail = log, stream, b""
        self.path = os.path.join(os.path.dirname(log.folder), f"begun.{stream.decode()}")
        self.shown = b""
        self.shown_at = 0.0

    def show(self) -> float:
        """Show what has begun; returns in how many seconds that is to be done again."""
        begun = b"%020d" % self.log.position + self.tail if self.tail else b""
        if begun == self.shown:
            return SHOW
        left = self.shown_at + SHOW - time.monotonic()
        if left > 0:
            return left
        self.shown, self.shown_at = begun, time.monotonic()
        try:
            with open(self.path + ".new", "wb") as file:
                file.write(begun)
            os.rename(self.path + ".new", self.path)
        except OSError:
            return SHOW  # A full disk: it is seen once it has ended.
        return SHOW

    def pump(self) -> bool:
        """Read once; false at the end of the stream."""
        data = os.read(self.fd, CHUNK)
        if not data:
            if self.tail:
                self.log.write(self.stream, self.tail + b"\n")
                self.tail = b""
            return False
        data = self.tail + data
        end = data.rfind(b"\n") + 1
        if end:
            self.log.write(self.stream, data[:end])
        self.tail = without_void(data[end:])
        while len(self.tail) > MAX_LINE:
            end = letter_border(self.tail, MAX_LINE)
            self.log.write(self.stream, self.tail[:end] + b"\n")
            self.tail = self.tail[end:]
        return True
