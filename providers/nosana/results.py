"""The output of a run: it comes with the result, once the run has ended.

The parts of a log are pieces of a stream, not lines: one may hold several, or only a part of one.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

from providers.base import LogLine
from providers.lines import cut, last_state
from providers.nosana import wire
from providers.nosana.definition import has_runner
from providers.runner import RunnerLog, RunnerResult

_Raw = tuple[datetime, Literal["stdout", "stderr"], str]


def lines_of(job: wire.JobDetail, key: str, rest: Iterable[str] = ()) -> list[LogLine]:
    """All lines, in order; a cursor is the number of a line, for a result never changes.

    `rest` are the lines that the log had no room for, where the drop box has them.
    """
    raw = _raw(job)
    if has_runner(job.jobDefinition):
        return _unframed(raw, key, rest)
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


def runner_of(job: wire.JobDetail, key: str) -> RunnerLog | None:
    """What the runner said in the log; None where there was none around the command."""
    if not has_runner(job.jobDefinition):
        return None
    reader = RunnerLog(key, keep=False)
    for time, _, text in _raw(job):
        reader.feed(text, time)
    return reader


def runner_result(data: bytes) -> RunnerResult | None:
    """What the runner put into the drop box at the command's end; None if it is not that."""
    try:
        told = json.loads(data)
        code, at = int(told["exit_code"]), int(told["finished_at"])
        stopped = bool(told.get("stopped"))
    except (ValueError, KeyError, TypeError):
        return None
    finished = datetime.fromtimestamp(at, UTC) if at > 0 else None
    return RunnerResult(code, None, finished, stopped=stopped)


def _raw(job: wire.JobDetail) -> list[_Raw]:
    parts = [part for op in _ops(job) for part in op.logs]
    return list(_split(parts, job.began or datetime.fromtimestamp(0, UTC)))


def _unframed(raw: list[_Raw], key: str, rest: Iterable[str]) -> list[LogLine]:
    reader = RunnerLog(key)
    more, last = list(rest), None
    for time, _, text in raw:
        if reader.is_end(text):  # what had no room comes before it
            for line in more:
                reader.feed(line, last)
        reader.feed(text, time)
        last = time
    reader.rest()
    if reader.cut and not more:
        reader.feed(_CUT[reader.long == "failed"], last)
    return reader.lines(None)


_CUT = {
    False: "[cortex] the log is cut: Nosana takes 1 MiB of a result, and there is no drop box for "
    "the rest (`drop.secret`)",
    True: "[cortex] the log is cut: Nosana takes 1 MiB of a result, and the rest did not get into "
    "the drop box (that needs curl or wget in the image)",
}


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
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
