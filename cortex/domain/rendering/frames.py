"""Frames of an animation: how they are written, cut into chunks, and how each of them does."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.money import Money

MAX_FRAME = 1_048_574
"""The last frame that Blender knows."""
MAX_FRAMES = 10_000
"""So many frames in one job."""
_PART = re.compile(r"(?P<first>\d+)(?:\s*-\s*(?P<last>\d+)(?:\s*x\s*(?P<step>\d+))?)?")
_EXAMPLE = "such as `7`, `1-48`, `1-48,60` or `1-100x5` (every fifth)"


class FrameState(StrEnum):
    QUEUED = "queued"
    RENDERING = "rendering"
    DONE = "done"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in (FrameState.DONE, FrameState.FAILED)


class FrameStatus(BaseModel):
    """How one frame of a render job does.

    In a snapshot, `attempts`, `cost` and `seconds` are those of that lease alone.
    """

    model_config = ConfigDict(frozen=True)

    frame: int = Field(ge=0, le=MAX_FRAME)
    state: FrameState
    attempts: int = Field(default=0, ge=0, description="How often it was begun.")
    cost: Money | None = None
    seconds: Decimal | None = Field(default=None, description="Time spent on it.")
    message: str = ""
    output: str | None = Field(default=None, description="Its file, among the job's outputs.")
    finished_at: datetime | None = None


def parse_frames(text: str) -> tuple[int, ...]:
    """The frames that a text names, each once, in ascending order.

    Raises:
        ValueError: it is no such text, or names too many.
    """
    frames: set[int] = set()
    for part in text.split(","):
        frames.update(_range(part.strip()))
        if len(frames) > MAX_FRAMES:
            raise ValueError(f"names more than {MAX_FRAMES} frames; make it several jobs")
    return tuple(sorted(frames))


def format_frames(frames: Iterable[int]) -> str:
    """The shortest usual way to write these frames; empty for none."""
    parts: list[str] = []
    left = sorted(set(frames))
    while left:
        step, count = _run(left)
        if count < 3:
            # Two neighbours are written singly, unless they follow one another.
            count = 2 if count == 2 and step == 1 else 1
        first, last = left[0], left[count - 1]
        suffix = f"x{step}" if step > 1 else ""
        parts.append(str(first) if count == 1 else f"{first}-{last}{suffix}")
        left = left[count:]
    return ",".join(parts)


def chunked(frames: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """The frames in pieces of `size`, the last one shorter."""
    return [tuple(frames[start : start + size]) for start in range(0, len(frames), size)]


def _range(part: str) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        shown = part[:40] or "nothing"
        raise ValueError(f"has `{shown}`, which is no frame and no range; write it {_EXAMPLE}")
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    step = 1 if match["step"] is None else int(match["step"])
    if max(first, last) > MAX_FRAME:
        raise ValueError(f"has `{part[:40]}`; the last frame that there can be is {MAX_FRAME}")
    if last < first:
        raise ValueError(f"has `{part[:40]}`, which ends before it begins")
    if step < 1:
        raise ValueError(f"has `{part[:40]}`; the step after `x` must be at least 1")
    frames = range(first, last + 1, step)
    if len(frames) > MAX_FRAMES:
        raise ValueError(f"names more than {MAX_FRAMES} frames; make it several jobs")
    return frames


def _run(frames: Sequence[int]) -> tuple[int, int]:
    """Step and length of the even run that the frames begin with."""
    if len(frames) == 1:
        return 1, 1
    step = frames[1] - frames[0]
    count = 2
    while count < len(frames) and frames[count] - frames[count - 1] == step:
        count += 1
    return step, count
