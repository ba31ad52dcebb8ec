"""What a lease's jobs at Dispersed are seen to be: state, exit code, frames, output, times."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, ValidationError

from cortex.domain.leases import LeaseRef, LeaseSnapshot, PullTrouble
from cortex.domain.money import Money
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.domain.states import RunState
from providers.base import LogLine
from providers.registries import pull_trouble
from providers.render._journal import Entry, failure_of, frame_statuses
from providers.render.jobs import Mark
from providers.render.remote import FRAME_MARK
from providers.render.wire import WireJob, WireRun
from providers.runner import RunnerLog, RunnerResult

_STARTING = ("PENDING", "ASSIGNED", "PREPARING")
_NO_RUNNER = (
    "the image did not run the job's command: its entry point must be that of a runner image "
    "(docs/providers/render.md), or leave `command` out of the job"
)


class ResultNote(BaseModel):
    """`result.json` as the runner puts it into the drop box."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    exit_code: int
    finished_at: int = 0
    stopped: bool = False


@dataclass
class Observed:
    """One job with its newest run, and what the runner in it said."""

    job: WireJob
    run: WireRun | None
    log: RunnerLog
    note: ResultNote | None = None

    @property
    def result(self) -> RunnerResult | None:
        """How the command ended, told in the log or through the drop box."""
        if self.log.result is not None or self.note is None:
            return self.log.result
        finished = self.note.finished_at
        moment = datetime.fromtimestamp(finished, UTC) if finished else None
        began, stopped = self.log.started_at, self.note.stopped
        return RunnerResult(self.note.exit_code, began, moment, stopped=stopped)

    @property
    def started_at(self) -> datetime | None:
        began = self.run.started_at if self.run else None
        return began or self.log.started_at

    @property
    def finished_at(self) -> datetime | None:
        if not self.job.over:
            return None
        told = self.run.finished_at if self.run else None
        ended = told or (self.result.finished_at if self.result else None) or self.job.updated_at
        began = self.started_at
        return max(ended, began) if ended and began else ended

    def frames(self) -> dict[int, Entry]:
        """The newest entry of each frame, of those that the log carries."""
        frames: dict[int, Entry] = {}
        for line in self.log.lines():
            entry = _entry(line.text)
            if entry is not None:
                frames[entry.frame] = entry
        return frames


def observed(key: str, job: WireJob, run: WireRun | None, note: bytes | None = None) -> Observed:
    """Put together what was asked for one job."""
    log = RunnerLog(key)
    text = run.logs if run else ""
    for line in text.removesuffix("\n").split("\n") if text else ():
        log.feed(line, run.started_at if run else None)
    if job.over:
        log.rest()
    return Observed(job, run, log, _note(note))


def snapshot(ref: LeaseRef, seen: Observed, *, runner: bool = True) -> LeaseSnapshot:
    """A container job. `runner`: its command was wrapped, so the runner must have spoken."""
    job = seen.job
    state, code, message = _state(seen, runner=runner)
    return LeaseSnapshot(
        key=ref.key,
        state=state,
        image=_unpulled(seen) if state is RunState.LOST else "",
        exit_code=code,
        message=message,
        started_at=seen.started_at or (job.created_at if state is RunState.RUNNING else None),
        finished_at=seen.finished_at if state.final else None,
    )


def _unpulled(seen: Observed) -> PullTrouble:
    """Whether the network says that it could not pull the image; it does not name it."""
    said = seen.job.error_message
    words = said.lower()
    failed = seen.job.status == "FAILED" and seen.result is None
    return pull_trouble(said) if failed and "image" in words and "pull" in words else ""


def _state(seen: Observed, *, runner: bool) -> tuple[RunState, int | None, str]:
    job, result = seen.job, seen.result
    if job.status in _STARTING:
        return RunState.STARTING, None, ""
    if not job.over:
        return RunState.RUNNING, None, ""
    if result is not None and result.why_lost:
        return RunState.LOST, None, result.why_lost
    if result is not None:
        return RunState.EXITED, result.exit_code, result.message
    if job.status == "CANCELLED":
        return RunState.LOST, None, "the network cancelled it"
    if not runner and not _unpulled(seen):
        code = 0 if job.status == "COMPLETED" else 1
        told = "" if code == 0 else job.error_message or "the network tells no exit code"
        return RunState.EXITED, code, told
    if job.status == "COMPLETED":
        return RunState.EXITED, 125, _NO_RUNNER
    why = job.error_message or "no more is told; an image that cannot be pulled ends like this"
    return RunState.LOST, None, f"the network could not run it ({why})"


def render_snapshot(
    ref: LeaseRef, seen: Sequence[tuple[Observed, tuple[int, ...]]], hourly: Money
) -> LeaseSnapshot:
    """A render job: the sum of its chunks. It is over when all of them are.

    A chunk that the network has lost makes the lease a lost one: a new attempt then renders what
    is not done, and nothing else.
    """
    parts = [snapshot(ref, each) for each, _ in seen]
    statuses: list[FrameStatus] = []
    for (each, numbers), part in zip(seen, parts, strict=True):
        statuses += frame_statuses(numbers, each.frames(), hourly, ended=part.state.final)
    told = tuple(sorted(statuses, key=lambda status: status.frame))
    done = sum(status.state is FrameState.DONE for status in told)
    state, code, message = _together(parts, told)
    pulls = [part.image for part in parts if part.image] if state is RunState.LOST else []
    starts = [part.started_at for part in parts if part.started_at]
    ends = [part.finished_at for part in parts if part.finished_at]
    return LeaseSnapshot(
        key=ref.key,
        state=state,
        image=pulls[0] if pulls else "",
        exit_code=code,
        message=message,
        progress=(Decimal(done) / len(told)).quantize(Decimal("0.00001")) if told else None,
        started_at=min(starts, default=None),
        finished_at=max(ends, default=None) if state.final else None,
        frames=told,
    )


def _together(
    parts: Sequence[LeaseSnapshot], frames: tuple[FrameStatus, ...]
) -> tuple[RunState, int | None, str]:
    states = [part.state for part in parts]
    if not all(state.final for state in states):
        begun = any(state is not RunState.STARTING for state in states)
        return (RunState.RUNNING if begun else RunState.STARTING), None, ""
    lost = [part for part in parts if part.state is RunState.LOST]
    if lost:
        return RunState.LOST, None, lost[0].message
    codes = [part.exit_code or 0 for part in parts]
    worst = next((code for code in codes if code), 0)
    said = next((part.message for part in parts if part.message), "")
    if worst and not said:
        said = "not all frames were rendered; the output says why"
    return RunState.EXITED, worst, failure_of(frames) or (said if worst else "")


def shown(line: LogLine, mark: Mark | None) -> LogLine | None:
    """A line as the user sees it; None of one that is no output, but the record of a frame."""
    if mark is not None and mark.frames and line.text.startswith(FRAME_MARK):
        return None
    if mark is not None and mark.own:  # without the runner nobody can tell the streams apart
        return line.model_copy(update={"stream": "stdout"})
    return line


def _entry(text: str) -> Entry | None:
    if not text.startswith(FRAME_MARK):
        return None
    try:
        return Entry.model_validate_json(text.removeprefix(FRAME_MARK))
    except ValidationError:
        return None


def _note(data: bytes | None) -> ResultNote | None:
    if data is None:
        return None
    try:
        return ResultNote.model_validate(json.loads(data))
    except ValueError:
        return None
