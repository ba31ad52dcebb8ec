"""Reads what the supervisor of a lease has written about its frames.

The job's own files are read as a stranger's: a scene may have written there too.
"""

import contextlib
import json
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cortex.domain.money import Money, cost_for
from cortex.domain.rendering.frames import MAX_FRAME, FrameState, FrameStatus

_MOST = 64 * 2**20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Entry(BaseModel):
    """One line: a frame as it is since then."""

    model_config = ConfigDict(frozen=True)

    frame: int = Field(ge=0, le=MAX_FRAME)
    state: FrameState
    attempts: int = Field(ge=0, le=10_000)
    seconds: float = Field(ge=0, le=10**9)
    message: str = ""
    output: str | None = None
    finished_at: float | None = None


@dataclass
class Journal:
    """The journal of one lease, read on from where it was read before."""

    path: Path
    offset: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)
    _reading: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def read(self) -> dict[int, Entry]:
        """The newest entry of each frame; blocks shortly, and may be called in many threads."""
        with self._reading:  # two that read on from one place would both move it: lines are lost
            self._read_on()
            return dict(self.entries)

    def _read_on(self) -> None:
        try:
            fd = os.open(self.path, _OPEN)
        except OSError:
            return
        try:
            size = min(os.fstat(fd).st_size, _MOST)
            if size < self.offset:
                self.offset, self.entries = 0, {}
            data = os.pread(fd, size - self.offset, self.offset)
        finally:
            os.close(fd)
        whole = data.rfind(b"\n") + 1
        self.offset += whole
        for line in data[:whole].splitlines():
            # A line that is none of ours tells nothing.
            with contextlib.suppress(ValidationError):
                entry = Entry.model_validate_json(line)
                self.entries[entry.frame] = entry


def frame_statuses(
    frames: tuple[int, ...], entries: dict[int, Entry], hourly: Money, *, ended: bool
) -> tuple[FrameStatus, ...]:
    """Every frame of the lease; one that was begun when the lease ended is to be begun again.

    `hourly` is the price of one painter: what a frame costs is its time at that price.
    """
    return tuple(_status(number, entries.get(number), hourly, ended) for number in frames)


def _status(number: int, entry: Entry | None, hourly: Money, ended: bool) -> FrameStatus:
    if entry is None:
        return FrameStatus(frame=number, state=FrameState.QUEUED)
    state = entry.state
    if ended and state is FrameState.RENDERING:
        state = FrameState.QUEUED
    seconds = Decimal(str(round(entry.seconds, 6)))
    finished = entry.finished_at
    return FrameStatus(
        frame=number,
        state=state,
        attempts=entry.attempts,
        seconds=seconds if seconds else None,
        cost=cost_for(hourly, seconds) if seconds else None,
        message=entry.message[:300],
        output=entry.output[:300] if entry.output else None,
        finished_at=None if finished is None else _moment(finished),
    )


def failure_of(frames: tuple[FrameStatus, ...]) -> str:
    """The sentence that names the frames that could not be rendered; empty if there are none."""
    failed = [frame for frame in frames if frame.state is FrameState.FAILED]
    if not failed:
        return ""
    numbers = ", ".join(str(frame.frame) for frame in failed[:20])
    more = f" and {len(failed) - 20} more" if len(failed) > 20 else ""
    what = "frame" if len(failed) == 1 else "frames"
    return f"{what} {numbers}{more} could not be rendered: {failed[0].message}"


def _moment(seconds: float) -> datetime | None:
    with contextlib.suppress(OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(seconds, UTC)
    return None


def dump(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file as a whole, so that it is there after a crash or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with partial.open("x", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
