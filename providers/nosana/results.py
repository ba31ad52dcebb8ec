"""The output of a run: it comes with the result, once the run has ended.

The parts of a log are pieces of a stream, not lines: one may hold several, or only a part of one.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

from providers.base import LogLine
from providers.lines import cut, last_state
from providers.nosana import wire
from providers.nosana.definition import has_runner
from providers.runner import RunnerLog

_Raw = tuple[datetime, Literal["stdout", "stderr"], str]


def lines_of(job: wire.JobDetail, key: str) -> list[LogLine]:
    """All lines, in order; a cursor is the number of a line, for a result never changes."""
    parts = [part for op in _ops(job) for part in op.logs]
    raw = list(_split(parts, job.began or datetime.fromtimestamp(0, UTC)))
    if has_runner(job.jobDefinition):
        return _unframed(raw, key)
    return [
        LogLine(time=time, stream=stream, text=text, cursor=str(number))
        for number, (time, stream, text) in enumerate(raw, 1)
    ]


def after(lines: list[LogLine], since: str | None) -> list[LogLine]:
    """The lines after a cursor."""
    if since is None:
        return lines
    for place, line in enumerate(lines, 1):
        if line.cursor == since:
            return lines[place:]
    return []


def _ops(job: wire.JobDetail) -> Iterable[wire.OpState]:
    return job.jobResult.opStates if job.jobResult else ()


def _unframed(raw: list[_Raw], key: str) -> list[LogLine]:
    reader = RunnerLog(key)
    for time, _, text in raw:
        reader.feed(text, time)
    reader.rest()
    return reader.lines(None)


def _split(parts: Iterable[wire.LogPart], began: datetime) -> Iterator[_Raw]:
    rest: dict[str, str] = {}
    last = began
    for part in parts:
        if part.type == "stdin":
            continue
        last = max(last, _time(part.timestamp) or last)
        text = rest.pop(part.type, "") + part.log
        *whole, tail = text.split("\n")
        for line in whole:
            yield from _lines(last, part.type, line)
        if tail:
            rest[part.type] = tail
    for kind, tail in rest.items():
        yield from _lines(last, kind, tail)


def _stream(kind: str) -> Literal["stdout", "stderr"]:
    return "stdout" if kind == "stdout" else "stderr"


def _lines(time: datetime, kind: str, text: str) -> Iterator[_Raw]:
    text = last_state(text).replace("\0", "\ufffd")
    for part in cut(f"[node] {text}" if kind == "nodeerr" else text):
        yield time, _stream(kind), part


def _time(text: str | None) -> datetime | None:
    """ISO 8601, or a number of milliseconds."""
    if not text:
        return None
    try:
        if text.isdigit():
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
