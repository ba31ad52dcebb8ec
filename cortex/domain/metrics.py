"""What a running job takes of its machine: as networks tell it, and as it is kept."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Metric = Literal["cpu", "memory", "network", "disk", "gpu"]
"""A kind of figures."""

MOST_POINTS: Final = 1000
"""Of one answer about one job."""
USUAL_POINTS: Final = 120
_STEPS: Final = (1, 5, 10, 15, 30, 60, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)
LONGEST_STEP: Final = 365 * 86_400


class Sample(BaseModel):
    """What a network says of one running lease at one moment; None: it does not say.

    `cpu_seconds`, network and disk count from the lease's start on. A counter that is smaller than
    it was has begun anew.
    """

    model_config = ConfigDict(frozen=True)

    key: str = Field(description="Of the lease.")
    measured_at: datetime | None = Field(
        default=None, description="Where the network measures at times of its own; None: now."
    )
    cpu_seconds: float | None = Field(default=None, ge=0, description="Of all cores together.")
    memory: int | None = Field(default=None, ge=0, description="Bytes.")
    memory_peak: int | None = Field(
        default=None, ge=0, description="Bytes, since the lease's start."
    )
    network_received: int | None = Field(default=None, ge=0, description="Bytes.")
    network_sent: int | None = Field(default=None, ge=0, description="Bytes.")
    disk_read: int | None = Field(default=None, ge=0, description="Bytes.")
    disk_written: int | None = Field(default=None, ge=0, description="Bytes.")
    gpu: float | None = Field(default=None, ge=0, description="Percent, of all GPUs together.")
    gpu_memory: int | None = Field(default=None, ge=0, description="Bytes.")


@dataclass(frozen=True)
class Progress:
    """How far the counters of a lease had come when it was last measured.

    Attributes:
        at: When it was written down; never goes back.
        cpu_seconds: Used so far, over all new beginnings of the counter.
        counter: What the counter itself showed; None: not known any more.
        memory_peak: The most that was seen so far.
        clock: Seconds of a clock that is never set; None: of another process.
        measured_at: What the network said about when.
    """

    at: datetime
    cpu_seconds: float | None = None
    counter: float | None = None
    memory_peak: int | None = None
    clock: float | None = None
    measured_at: datetime | None = None


@dataclass(frozen=True)
class Measured:
    """A sample as it is kept.

    Attributes:
        cpu: Cores used since the last time, on average; None: not known.
        progress: What the next one goes on from.
    """

    sample: Sample
    cpu: float | None
    progress: Progress


def measured(sample: Sample, before: Progress | None, *, now: datetime, clock: float) -> Measured:
    """Bring a sample in line with the one before it of the same lease.

    Args:
        sample: What the network said.
        before: Where the lease was then; None: it is the first.
        now: The time of day, which may have been set back meanwhile.
        clock: Seconds of a clock that is never set.
    """
    used = _used(sample.cpu_seconds, before)
    cpu = None
    if used is not None and before is not None:
        elapsed = _elapsed(sample, before, now, clock)
        cpu = used / elapsed if elapsed > 0 else None
    total = before.cpu_seconds if before is not None else None
    if sample.cpu_seconds is not None:
        total = sample.cpu_seconds if used is None else (total or 0.0) + used
    peaks = [sample.memory, sample.memory_peak, before.memory_peak if before else None]
    at = now if before is None else max(now, before.at + timedelta(milliseconds=1))
    counter = sample.cpu_seconds
    if counter is None and before is not None:
        counter = before.counter
    return Measured(
        sample,
        cpu,
        Progress(
            at=at,
            cpu_seconds=total,
            counter=counter,
            memory_peak=max((peak for peak in peaks if peak is not None), default=None),
            clock=clock,
            measured_at=sample.measured_at,
        ),
    )


def tells_nothing_new(sample: Sample, before: Progress | None) -> bool:
    """Whether it is the measurement that is known already, asked for once more."""
    return (
        before is not None
        and sample.measured_at is not None
        and sample.measured_at == before.measured_at
    )


def _used(counter: float | None, before: Progress | None) -> float | None:
    """CPU seconds since the last time; None where nothing is known of then."""
    if counter is None or before is None or before.cpu_seconds is None:
        return None
    if before.counter is None:  # another process saw it: what is known is the sum
        return max(0.0, counter - before.cpu_seconds)
    if counter >= before.counter:
        return counter - before.counter
    # A little less is no new beginning: the figures of a process went with it.
    return counter if counter < before.counter / 2 else 0.0


def _elapsed(sample: Sample, before: Progress, now: datetime, clock: float) -> float:
    if sample.measured_at is not None and before.measured_at is not None:
        return (sample.measured_at - before.measured_at).total_seconds()
    if before.clock is not None:
        return clock - before.clock
    return (now - before.at).total_seconds()


def step_for(span: timedelta, asked: int | None = None, *, points: int = USUAL_POINTS) -> int:
    """Seconds per point, so that a span of time has no more than so many points.

    Args:
        span: What is to be shown.
        asked: Seconds that are wished for; they count as long as no more than `MOST_POINTS` come of
            it. None: as long that there are `points` at most.
        points: See `asked`.
    """
    seconds = max(1.0, span.total_seconds())
    # One point fewer: the span may begin and end within a step.
    if asked is not None and asked * (MOST_POINTS - 1) >= seconds:
        return asked
    least = seconds / max(1, (points if asked is None else MOST_POINTS) - 1)
    return next((step for step in _STEPS if step >= least), math.ceil(least))
