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
    found: list[FrameStatus] = []
    page = cortex.frames(job_id, state=which)
    while True:
        found += page.items
        if page.next_cursor is None:
            break
        page = cortex.frames(job_id, state=which, cursor=page.next_cursor)
    if state.json:
        for item in found:
            render.print_json(item)
        return
    render.table(state, _COLUMNS, map(_row, found), right=_RIGHT)
    render.say(state, _summary(page), style="dim")


def _row(item: FrameStatus) -> tuple[str, ...]:
    return (
        str(item.frame),
        item.state.value,
        str(item.attempts),
        "" if item.seconds is None else f"{item.seconds:.2f}",
        render.money(item.cost),
        item.output or "",
        item.message,
    )


def _summary(page: FramePage) -> str:
    counts = ", ".join(f"{count} {name.value}" for name, count in page.counts.items() if count)
    cost = " and ".join(str(amount) for amount in page.cost) or "nothing"
    return f"{page.total} frames: {counts}; they cost {cost} so far"
