"""What the supervisor tells others about itself, in files: the lock, and a state file."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cortex.embedded.errors import AlreadyRunning
from cortex.embedded.files import cortex_on, write_private
from cortex.embedded.processes import ProcessMark
from cortex.embedded.service import Phase, StackEvent

# A part of the supervisor's command line cannot be relied on: `cortex up`, a test, a notebook.
SUPERVISOR_MARKER = ""


class PartState(BaseModel):
    """The last that happened to one part, and since when (seconds since the epoch)."""

    model_config = ConfigDict(frozen=True)

    phase: Phase
    detail: str = ""
    since: float
    restarts: int = 0


class StackState(BaseModel):
    """`run/state.json`: written by the supervisor `pid` at every event."""

    pid: int
    started: float
    ready: bool = False
    error: str = ""
    parts: dict[str, PartState] = Field(default_factory=dict)

    @classmethod
    def read(cls, run_dir: Path) -> "StackState | None":
        """The newest state; None if no supervisor ever wrote one."""
        try:
            return cls.model_validate_json((run_dir / "state.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def record(self, event: StackEvent, run_dir: Path) -> None:
        """Take in an event and write the file; a full disk must not end the supervisor."""
        last = self.parts.get(event.name)
        restarts = (last.restarts if last else 0) + (event.phase == "restarting")
        self.parts[event.name] = PartState(
            phase=event.phase, detail=event.detail, since=time.time(), restarts=restarts
        )
        with contextlib.suppress(OSError):
            write_private(run_dir / "state.json", self.model_dump_json(indent=2) + "\n")


@contextlib.contextmanager
def stack_lock(run_dir: Path) -> Iterator[None]:
    """Be the only supervisor of this data folder. The lock goes when the process does.

    Raises:
        AlreadyRunning: another one is at work.
    """
    with (run_dir / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = ProcessMark.read(run_dir / "supervisor.pid")
            raise AlreadyRunning(
                f"A stack is running already on {run_dir.parent}"
                f"{f' (process {other.pid})' if other else ''}; "
                f"`{cortex_on(run_dir.parent)} down` stops it."
            ) from None
        mark = run_dir / "supervisor.pid"
        ProcessMark.of(os.getpid(), SUPERVISOR_MARKER).write(mark)
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def supervisor_of(data_dir: Path) -> ProcessMark | None:
    """The supervisor that runs on this data folder now."""
    mark = ProcessMark.read(data_dir / "run" / "supervisor.pid")
    return mark if mark and mark.find() else None
