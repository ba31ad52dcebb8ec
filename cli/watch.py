"""Many jobs shown live: a table on a terminal, a line per change anywhere else."""

import sys
from collections import Counter
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli import render
from cli.state import State, is_terminal
from cortex.domain.states import TERMINAL_JOB_STATES
from cortex.schemas.events import EventView

_BATCH = "batch-"


class Watch:
    """Takes the events of some jobs; knows when all have ended."""

    def __init__(self, state: State, names: dict[str, str]) -> None:
        self._state = state
        self._names = names
        self._states = dict.fromkeys(names, "pending")
        self._notes = dict.fromkeys(names, "")
        self._live: Live | None = None
        if is_terminal(sys.stdout):
            self._live = Live(
                console=render.console(state), get_renderable=self._table, refresh_per_second=8
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.refresh()
            self._live.stop()

    @property
    def ended(self) -> bool:
        """Whether all jobs have ended."""
        return all(state in TERMINAL_JOB_STATES for state in self._states.values())

    def take(self, event: EventView) -> None:
        """Take in one event; those of other jobs do not matter."""
        job_id = event.cortexjob
        if job_id not in self._names:
            return
        kind = event.type.removeprefix("cortex.")
        note = render.printable(str(event.data.get("message") or ""))
        if kind == "job.state.changed":
            self._states[job_id] = str(event.data.get("state", ""))
            self._notes[job_id] = note
        elif kind in ("job.progress", "job.frames") and "progress" in event.data:
            self._notes[job_id] = f"{float(event.data['progress']):.0%}  {note}"
        else:
            return
        if self._live is None:
            self._print(event, job_id)

    def _print(self, event: EventView, job_id: str) -> None:
        name, state = self._names[job_id], self._states[job_id]
        if name.startswith(_BATCH) and state not in TERMINAL_JOB_STATES:
            return
        text = f"{render.clock(event.time)}  {name:<10}  {state:<10}  {self._notes[job_id]}"
        print(text.rstrip(), flush=True)

    def _table(self) -> Table:
        table = render.drawn(("JOB", "STATE", ""), [])
        for job_id, name in self._names.items():
            if not name.startswith(_BATCH):
                state = self._states[job_id]
                style = render.STYLES.get(state, "")
                table.add_row(name, Text(state, style=style), Text(self._notes[job_id]))
        batch = [self._states[i] for i, name in self._names.items() if name.startswith(_BATCH)]
        counts = Counter(batch)
        text = "  ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        if batch:
            done = sum(state in TERMINAL_JOB_STATES for state in batch)
            bar = "█" * done + "░" * (len(batch) - done)
            table.add_row(f"batch of {len(batch)}", Text(bar, style="green"), text)
        return table
