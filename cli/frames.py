"""The frames of a render job, as a table or as JSON."""

from cli import render
from cli.state import State
from cortex.client import Cortex
from cortex.domain.rendering.frames import FrameStatus
from cortex.schemas.jobs import FramePage

_COLUMNS = ("FRAME", "STATE", "TRIES", "SECONDS", "COST", "FILE", "MESSAGE")
_RIGHT = (0, 2, 3, 4)


def show_frames(state: State, cortex: Cortex, job_id: str, which: str | None) -> None:
    """Print all frames of a job, or those in the state `which`, and a line that sums them up."""
    frames: list[FrameStatus] = []
    page = cortex.frames(job_id, state=which)
    while True:
        frames += page.items
        if page.next_cursor is None:
            break
        page = cortex.frames(job_id, state=which, cursor=page.next_cursor)
    if state.json:
        for frame in frames:
            render.print_json(frame)
        return
    render.table(state, _COLUMNS, map(_row, frames), right=_RIGHT)
    render.say(state, _summary(page), style="dim")


def _row(frame: FrameStatus) -> tuple[str, ...]:
    return (
        str(frame.frame),
        frame.state.value,
        str(frame.attempts),
        "" if frame.seconds is None else f"{frame.seconds:.2f}",
        render.money(frame.cost),
        frame.output or "",
        frame.message,
    )


def _summary(page: FramePage) -> str:
    counts = ", ".join(f"{count} {name.value}" for name, count in page.counts.items() if count)
    cost = " and ".join(str(amount) for amount in page.cost) or "nothing"
    return f"{page.total} frames: {counts}; they cost {cost} so far"
