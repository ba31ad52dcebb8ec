"""Reads the framed output of the runner."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from providers.base import LogLine
from providers.lines import MAX_LINE, cut, last_state
from providers.runner.wrap import token

_FRAME = re.compile(r"([oe])([0-9]{1,18})([ +=-])(.*)", re.DOTALL)


@dataclass(frozen=True)
class RunnerResult:
    """How the command ended.

    `interrupted`: its container was restarted while it ran. `stopped`: the container was asked to
    end, as by a network that takes its machine back, and the command then did not succeed.
    """

    exit_code: int
    started_at: datetime | None
    finished_at: datetime | None
    outputs: Literal["none", "sent", "failed"] = "none"
    interrupted: bool = False
    stopped: bool = False
    message: str = ""

    @property
    def why_lost(self) -> str:
        """Why the lease is lost, though the command has ended; empty if it ended by itself."""
        if not self.stopped:
            return ""
        return f"its container was ended from outside; the command then ended with {self.exit_code}"


@dataclass
class _Open:
    """A line that has begun: its text so far, and the number of its last piece."""

    text: str
    number: int
    shown: bool = False


class RunnerLog:
    """Takes raw lines in order; gives the command's lines and what the runner said.

    A cursor is three numbers: the last whole line of stdout, of stderr, and how many lines came
    without a frame. So it stays good when a network has dropped the beginning of its log, and none
    of what a container tells again after a restart comes twice.

    Args:
        key: The lease's.
        keep: False: lines are only returned by `feed`: for those who follow a log of any length.
        since: A cursor; what comes up to it is passed over. One that is none of ours is the
            beginning: rather twice than never.
    """

    def __init__(self, key: str, *, keep: bool = True, since: str | None = None) -> None:
        self._keep = keep
        self._control = f"c {token(key)} "
        self._since = _marks(since)
        self._seen = {"o": self._since[0], "e": self._since[1], "x": 0}
        self._whole = dict(self._seen)
        self._open: dict[str, _Open] = {}
        self._lines: list[LogLine] = []
        self.started_at: datetime | None = None
        self.result: RunnerResult | None = None
        """How the command ended; None as long as the runner's own end mark has not come. A log that
        ends without it has broken off, or the command still runs."""
        self.cut = False
        """Whether the log had no room for all lines; `long` tells what became of the others."""
        self.long: Literal["none", "sent", "failed"] = "none"

    @property
    def open(self) -> frozenset[str]:
        """The streams (`o`, `e`) in which a line has begun and not ended."""
        return frozenset(self._open)

    def feed(self, raw: str, time: datetime | None = None) -> list[LogLine]:
        """Take the next raw line, without its end; `time` where the network names one.

        Returns:
            The lines that are whole now: none, or several where a very long one goes on.
        """
        raw = raw.rstrip("\r\n")
        if raw.startswith(self._control):
            self._heard(raw.removeprefix(self._control).split(" "))
            return self.rest() if self.result is not None else []
        frame = _FRAME.fullmatch(raw)
        if frame is None:
            return self._unframed(raw, time)
        stream, number, kind, text = frame[1], int(frame[2]), frame[3], frame[4]
        if number <= self._seen[stream]:
            return []  # told again after a restart
        self._seen[stream] = number
        if kind in "=-":
            self._open.pop(stream, None)  # a carriage return made it void
        return self._piece(stream, number, text.replace("\0", "\ufffd"), kind in " =", time)

    def is_end(self, raw: str) -> bool:
        """Whether a raw line is the runner's end mark."""
        return raw.startswith((f"{self._control}end ", f"{self._control}stopped "))

    def partials(self) -> list[LogLine]:
        """The lines that have begun and not ended, as far as they have changed since last asked."""
        changed = [stream for stream, line in self._open.items() if not line.shown]
        for stream in changed:
            self._open[stream].shown = True
        return [
            _line(stream, self._open[stream].text, None, self._cursor(), partial=True)
            for stream in changed
        ]

    def rest(self) -> list[LogLine]:
        """The lines that have begun, as whole ones: nothing more will come."""
        streams = list(self._open)
        return [self._close(stream, None) for stream in streams]

    def lines(self, since: str | None = None) -> list[LogLine]:
        """The command's lines after the cursor."""
        limits = _marks(since)
        before: tuple[int, int, int] = (0, 0, 0)
        lines: list[LogLine] = []
        for line in self._lines:
            mark = _marks(line.cursor)
            moved = next(i for i in range(3) if mark[i] != before[i])
            if mark[moved] > limits[moved]:
                lines.append(line)
            before = mark
        return lines

    def _piece(
        self, stream: str, number: int, text: str, ends: bool, time: datetime | None
    ) -> list[LogLine]:
        lines: list[LogLine] = []
        line = self._open.get(stream)
        if line is not None and _size(line.text) + _size(text) > MAX_LINE:
            lines.append(self._close(stream, time))
            line = None
        self._open[stream] = _Open(last_state((line.text if line else "") + text), number)
        if ends:
            lines.append(self._close(stream, time))
        return lines

    def _close(self, stream: str, time: datetime | None) -> LogLine:
        line = self._open.pop(stream)
        self._whole[stream] = line.number
        return self._given(_line(stream, line.text, time, self._cursor()))

    def _unframed(self, raw: str, time: datetime | None) -> list[LogLine]:
        lines: list[LogLine] = []
        for text in cut(last_state(raw).replace("\0", "\ufffd")):
            self._whole["x"] += 1
            if self._whole["x"] > self._since[2]:
                lines.append(self._given(_line("x", text, time, self._cursor())))
        return lines

    def _given(self, line: LogLine) -> LogLine:
        if self._keep:
            self._lines.append(line)
        return line

    def _cursor(self) -> str:
        return ".".join(str(self._whole[stream]) for stream in "oex")

    def _heard(self, words: list[str]) -> None:
        what, *rest = words
        if what == "start" and rest:
            self.started_at = _moment(rest[0])
        elif what == "cut":
            self.cut = True
        elif what == "long" and rest:
            self.long = "sent" if rest[0] == "sent" else "failed"
        elif what == "interrupted" and rest:
            message = "the container was restarted while the command ran"
            self.result = RunnerResult(
                137, self.started_at, _moment(rest[0]), interrupted=True, message=message
            )
        elif what in ("end", "stopped") and len(rest) >= 2 and rest[0].isdigit():
            outputs: Literal["none", "sent", "failed"] = "none"
            if len(rest) > 2 and rest[2] in ("sent", "failed"):
                outputs = "sent" if rest[2] == "sent" else "failed"
            self.result = RunnerResult(
                int(rest[0]),
                self.started_at,
                _moment(rest[1]),
                outputs,
                stopped=what == "stopped",
                message=" ".join(rest[3:]),
            )


def _moment(seconds: str) -> datetime | None:
    """A time as the runner tells it; 0 where its image has no `date`."""
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdigit() and int(seconds) else None


def _line(
    stream: str, text: str, time: datetime | None, cursor: str, *, partial: bool = False
) -> LogLine:
    return LogLine(
        time=time or datetime.now(UTC),
        stream="stdout" if stream == "o" else "stderr",
        text=text,
        cursor=cursor,
        partial=partial,
    )


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _marks(cursor: str | None) -> tuple[int, int, int]:
    parts = (cursor or "").split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return 0, 0, 0
    return int(parts[0]), int(parts[1]), int(parts[2])
