"""Reads the framed output of the runner."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from providers.base import LogLine
from providers.runner.wrap import token

MAX_LINE = 64 * 1024
_FRAME = re.compile(r"([oe])(\d+) (.*)", re.DOTALL)


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


class RunnerLog:
    """Collects raw lines in order; gives the command's lines and what the runner said.

    A cursor counts the lines of both streams, so it stays good when a network has dropped the
    beginning of its log. Lines are cut at 64 KiB. With `keep=False`, lines are only returned by
    `feed`: for those who follow a log of any length.
    """

    def __init__(self, key: str, *, keep: bool = True) -> None:
        self._keep = keep
        self._control = f"c {token(key)} "
        self._seen = {"o": 0, "e": 0, "x": 0}
        self._lines: list[LogLine] = []
        self._marks: list[tuple[int, int, int]] = []
        self.started_at: datetime | None = None
        self.result: RunnerResult | None = None

    def feed(self, raw: str, time: datetime | None = None) -> LogLine | None:
        """Take the next raw line, without its end; `time` where the network names one."""
        raw = raw.rstrip("\r\n")
        if raw.startswith(self._control):
            self._heard(raw.removeprefix(self._control).split(" "))
            return None
        frame = _FRAME.fullmatch(raw)
        if frame is None:
            return self._take("x", self._seen["x"] + 1, raw, time)
        stream, number = frame[1], int(frame[2])
        if number <= self._seen[stream]:
            return None  # told again after a restart
        return self._take(stream, number, frame[3], time)

    def lines(self, since: str | None = None) -> list[LogLine]:
        """The command's lines after the cursor.

        Raises:
            ValueError: the cursor is none of ours.
        """
        if since is None:
            return list(self._lines)
        limits = [int(part) for part in since.split(".")]
        before: tuple[int, ...] = (0, 0, 0)
        found: list[LogLine] = []
        for line, mark in zip(self._lines, self._marks, strict=True):
            moved = next(i for i in range(3) if mark[i] != before[i])
            if mark[moved] > limits[moved]:
                found.append(line)
            before = mark
        return found

    def _take(self, stream: str, number: int, text: str, time: datetime | None) -> LogLine:
        self._seen[stream] = number
        mark = (self._seen["o"], self._seen["e"], self._seen["x"])
        line = LogLine(
            time=time or datetime.now(UTC),
            stream="stdout" if stream == "o" else "stderr",
            text=_cut(text.replace("\0", "")),
            cursor=".".join(map(str, mark)),
        )
        if self._keep:
            self._lines.append(line)
            self._marks.append(mark)
        return line

    def _heard(self, words: list[str]) -> None:
        what, *rest = words
        if what == "start" and rest:
            self.started_at = _moment(rest[0])
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


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= MAX_LINE else data[:MAX_LINE].decode(errors="ignore")
