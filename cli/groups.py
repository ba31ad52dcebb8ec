"""A group shown live: one view for all its members, however many there are."""

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Group as Lines
from rich.live import Live
from rich.text import Text

from cli import render
from cli.state import State, is_terminal
from cortex.client import AsyncCortex
from cortex.domain.states import TERMINAL_JOB_STATES, JobState
from cortex.schemas.events import EventView
from cortex.schemas.groups import GroupSummary, GroupView

_BAR = 40
_LOOK = 2.0
_STEPS = 10
_ORDER = (
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.RUNNING,
    JobState.SETTLING,
    JobState.CANCELLING,
    JobState.DEPLOYING,
    JobState.PLACING,
    JobState.PENDING,
)


async def show_group(
    state: State, cortex: AsyncCortex, group: GroupView, *, every_change: bool
) -> GroupView:
    """Show a group until it has ended; returns it as it ended."""
    progress = Progress(state, group, every_change=every_change)
    with progress:
        looking = asyncio.ensure_future(_look(cortex, progress)) if progress.live else None
        try:
            async for event in cortex.group_events(group.id, follow=True):
                progress.take(event)
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
        ended = await cortex.wait_group(group.id)
        progress.see(ended)
    return ended


async def _look(cortex: AsyncCortex, progress: "Progress") -> None:
    """Read the bill so far now and then: events tell the states, not the sum."""
    while True:
        await asyncio.sleep(_LOOK)
        progress.see(await cortex.group(progress.group_id, limit=0))


class Progress:
    """Takes the events of a group: a view that moves on a terminal, lines anywhere else."""

    def __init__(self, state: State, group: GroupView, *, every_change: bool) -> None:
        self.group_id = group.id
        self._state = state
        self._group: GroupSummary = group
        self._every_change = every_change
        self._phase = group.state.value
        self._names: dict[str, str] = {}
        self._states: dict[str, JobState] = {}
        self._said = 0
        self._live: Live | None = None
        if is_terminal(sys.stderr) and not state.json:
            self._live = Live(
                console=render.console(state, stderr=True),
                get_renderable=self._drawn,
                refresh_per_second=8,
            )

    @property
    def live(self) -> bool:
        return self._live is not None

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

    def see(self, group: GroupSummary) -> None:
        """The group as the server has it now."""
        self._group = group

    def take(self, event: EventView) -> None:
        """Take in one event of the group or of a member."""
        if self._state.json:
            sys.stdout.write(f'{{"event":{event.model_dump_json()}}}\n')
            sys.stdout.flush()
            return
        kind = event.type.removeprefix("cortex.")
        if kind == "job.submitted" and event.cortexjob:
            self._names[event.cortexjob] = str(event.data.get("member") or event.data.get("name"))
            self._states.setdefault(event.cortexjob, JobState.PENDING)
        elif kind == "job.state.changed" and event.cortexjob:
            self._moved(event, event.cortexjob)
        elif kind == "group.state.changed":
            self._phase = str(event.data.get("state", ""))
            self._line(event, f"group {self._phase}  {_message(event.data)}", self._phase)
        elif kind == "group.gang.decided":
            self._line(event, _decided(event.data))
        elif kind == "group.cancel.requested":
            self._line(event, f"asked to cancel  {render.printable(_reason(event.data))}")

    def _moved(self, event: EventView, job_id: str) -> None:
        now = JobState(event.data["state"])
        self._states[job_id] = now
        name = self._names.get(job_id, job_id)
        if now == JobState.FAILED:
            self._line(event, f"{name} failed  {_message(event.data)}", now)
        elif self._every_change:
            self._line(event, f"{name} {now}  {_message(event.data)}", now)
        if self._live is None and now in TERMINAL_JOB_STATES and not self._every_change:
            self._sum_up(event)

    def _sum_up(self, event: EventView) -> None:
        """Without a terminal: a line whenever another tenth of the members has ended."""
        done = sum(state in TERMINAL_JOB_STATES for state in self._states.values())
        step = done * _STEPS // max(self._group.total, 1)
        if step > self._said:
            self._said = step
            self._line(event, f"{done} of {self._group.total} ended: {counted(self._counts())}")

    def _line(self, event: EventView, text: str, state: str = "") -> None:
        style = render.STYLES.get(state, "dim")
        line = Text(f"{render.clock(event.time)}  {text}".rstrip(), style=style)
        if self._live is not None:
            self._live.console.print(line, soft_wrap=True)
        else:
            render.console(self._state, stderr=True).print(line, soft_wrap=True)

    def _counts(self) -> Mapping[JobState, int]:
        known = Counter(self._states.values())
        return known if len(self._states) >= self._group.total else self._group.counts

    def _drawn(self) -> Lines:
        counts = self._counts()
        head = Text.assemble(
            (f"{self._group.name}  ", "bold"), (self._phase, render.STYLES.get(self._phase, ""))
        )
        return Lines(
            head,
            bar(counts, self._group.total),
            Text(f"{counted(counts)}   cost {self._group.cost}"),
        )


def bar(counts: Mapping[JobState, int], total: int, width: int = _BAR) -> Text:
    """Completed, failed and running members as lengths of one bar, with the share that ended."""
    text = Text()
    so_far = at = 0
    for state, sign in (
        (JobState.COMPLETED, "█"),
        (JobState.FAILED, "█"),
        (JobState.CANCELLED, "█"),
        (JobState.RUNNING, "▒"),
    ):
        count = counts.get(state, 0)
        so_far += count
        # What is there at all can be seen, as long as there is room.
        end = min(width, max(so_far * width // max(total, 1), at + (1 if count else 0)))
        text.append(sign * (end - at), style=render.STYLES.get(state, ""))
        at = end
    done = sum(counts.get(state, 0) for state in TERMINAL_JOB_STATES)
    return text.append("░" * (width - at)).append(f"  {done}/{total}")


def counted(counts: Mapping[JobState, int]) -> str:
    """`12 completed · 1 failed · 487 running`."""
    shown = [f"{counts[state]} {state.value}" for state in _ORDER if counts.get(state)]
    return " · ".join(shown) or "nothing has begun"


def _decided(data: Mapping[str, object]) -> str:
    decision, gang = data.get("decision", "?"), data.get("gang", "?")
    return f"gang {gang} {decision}  {render.printable(_reason(data))}".rstrip()


def _reason(data: Mapping[str, object]) -> str:
    return str(data.get("reason") or "")


def _message(data: Mapping[str, object]) -> str:
    return render.printable(str(data.get("message") or ""))
