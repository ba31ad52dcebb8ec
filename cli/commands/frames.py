"""`frames`."""

from typing import Annotated

import typer

from cli.errors import BadInput
from cli.find import find_id
from cli.frames import show_frames
from cli.state import state_of
from cortex.domain.rendering.frames import FrameState

app = typer.Typer()


@app.command("frames")
def frames(
    ctx: typer.Context,
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="Job id, a job's unique name, or @last.")
    ],
    which: Annotated[str | None, typer.Option("--state", "-s", help="Such as failed.")] = None,
) -> None:
    """Show the frames of a render job: state, tries, time, cost and file of each."""
    state = state_of(ctx)
    if which is not None and which not in list(FrameState):
        names = ", ".join(FrameState)
        raise BadInput(
            f"--state `{which}`: there is no such state of a frame; it is one of {names}"
        )
    with state.client() as cortex:
        show_frames(state, cortex, find_id(cortex, job_id), which)


@app.callback()
def _group() -> None:
    """Keeps `frames` a command of a group, as those of the other modules are."""
