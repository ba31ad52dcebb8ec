"""Following one job live: its states and progress on stderr, its output on stdout."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeVar

import typer

from cli import render
from cli.errors import CliError, ExitCode
from cli.lines import LinePrinter, live
from cli.local import dir_option
from cli.state import State, interactive
from cortex.client import AsyncCortex
from cortex.domain.states import TERMINAL_JOB_STATES, JobState
from cortex.schemas.events import EventView
from cortex.schemas.jobs import JobView

T = TypeVar("T")
Choice = Literal["cancel", "detach"]
_STEP = Decimal("0.05")
_PROGRESS = "::progress "
_DETACH = "[d]etach and let it go on?"


async def follow_job(
    state: State, cortex: AsyncCortex, job: JobView, *, timeout: float | None = None
) -> int:
    """Show a job until it has ended; the exit code to end with.

    Args:
        state: The global options.
        cortex: The client.
        job: The accepted job.
        timeout: Seconds to follow it.
    """
    here = f"cortex {dir_option(state)}"
    followed = Followed(
        noun="job",
        id=job.id,
        cancel=lambda: cortex.cancel(job.id, reason="Ctrl-C in `cortex run`"),
        hints=(f"follow:  {here}logs -f {job.id}", f"cancel:  {here}cancel {job.id}"),
    )
    shown = asyncio.ensure_future(_show(state, cortex, job.id))
    code = await follow(state, shown, followed, timeout=timeout)
    return exit_code(shown.result()) if code is None else code


@dataclass(frozen=True)
class Followed:
    """What is followed: how it is called, ended, and followed again."""

    noun: str
    id: str
    cancel: Callable[[], Awaitable[object]]
    hints: tuple[str, ...]

    def say_hints(self, state: State) -> None:
        for hint in self.hints:
            render.say(state, f"  {hint}")


async def follow(
    state: State,
    shown: "asyncio.Future[T]",
    what: Followed,
    *,
    timeout: float | None = None,
) -> int | None:
    """Wait until it was shown to its end, Ctrl-C or the timeout.

    Returns:
        The exit code to end with; None: `shown` is done.
    """
    try:
        with interrupts() as interrupted:
            while not shown.done():
                asked = asyncio.ensure_future(interrupted.wait())
                waiting: set[asyncio.Future[Any]] = {shown, asked}
                await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                asked.cancel()
                if shown.done():
                    break
                if not interrupted.is_set():
                    render.say(state, f"not ended after {timeout:g} s; it goes on")
                    what.say_hints(state)
                    return ExitCode.TIMEOUT
                interrupted.clear()
                code = await _interrupted(state, what, shown, interrupted)
                if code is not None:
                    return code
        await shown
        return None
    finally:
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)


def exit_code(job: JobView) -> int:
    """The job's own exit code; 1 if it failed or was cancelled without one."""
    if job.state is JobState.COMPLETED:
        return ExitCode.OK
    if job.exit_code:
        return job.exit_code if 0 < job.exit_code < 256 else ExitCode.FAILED
    return ExitCode.FAILED


def show_end(state: State, job: JobView, *, files: int | None = None) -> None:
    """The last lines about a job: how it ended, what it took and cost, where to look.

    `files`: how many results it has left, where that is known.
    """
    if state.json:
        print(f'{{"job":{job.model_dump_json()}}}', flush=True)
        return
    render.say(state, summary(job), style=render.state_style(job.state))
    if job.message and job.state is not JobState.COMPLETED:
        render.say(state, f"  {render.printable(job.message)}")
    if job.spec.render is not None:
        render.say(state, f"  frames:   cortex {dir_option(state)}frames {job.id}")
    ended_well = job.state is JobState.COMPLETED or job.spec.render is not None
    if job.spec.kept() and (ended_well or files):
        how = "list" if files == 0 else "get"  # nothing can be got, but it is said why
        render.say(state, f"  results:  cortex {dir_option(state)}outputs {how} {job.id}")
    if job.log_dropped_bytes:
        dropped = render.size(job.log_dropped_bytes)
        render.say(state, f"  the middle of its output is not kept ({dropped} or more)")
    if job.temporal_url:
        render.say(state, f"  workflow: {job.temporal_url}")


def summary(job: JobView) -> str:
    """One line: `completed · exit code 0 · ran 3.2 s on local · cost 0.00002 USD`."""
    parts = [job.state.value]
    if job.exit_code is not None:
        parts.append(f"exit code {job.exit_code}")
    elif job.reason is not None and job.state is not JobState.CANCELLED:
        parts.append(job.reason.value.replace("_", " "))
    if job.started_at and job.finished_at:
        where = f" on {job.provider_id}" if job.provider_id else ""
        parts.append(f"ran {render.span(job.finished_at - job.started_at)}{where}")
    if job.attempt > 1:
        parts.append(f"{job.attempt} attempts")
    parts.append(f"cost {job.cost}")
    return " · ".join(parts)


async def _show(state: State, cortex: AsyncCortex, job_id: str) -> JobView:
    printer = LinePrinter()
    async with asyncio.TaskGroup() as group:
        files = group.create_task(_show_events(state, cortex, job_id, printer))
        group.create_task(_show_logs(state, cortex, job_id, printer))
    printer.finish()
    job = await cortex.wait(job_id)
    show_end(state, job, files=files.result())
    return job


async def _show_events(
    state: State, cortex: AsyncCortex, job_id: str, lines: LinePrinter
) -> int | None:
    """Print the events; returns how many results were kept, as far as they tell."""
    printer = EventPrinter(state)
    files: int | None = None
    async for event in cortex.events(job_id, follow=True):
        if event.type == "cortex.job.outputs.stored":
            files = int(event.data.get("files", 0))
        if state.json:
            sys.stdout.write(f'{{"event":{event.model_dump_json()}}}\n')
        else:
            lines.clear()
            printer.show(event)
            lines.again()
    return files


async def _show_logs(state: State, cortex: AsyncCortex, job_id: str, printer: LinePrinter) -> None:
    partial = live() and not state.json
    async for line in cortex.logs(job_id, follow=True, partial=partial):
        if state.json:
            sys.stdout.write(f'{{"log":{line.model_dump_json()}}}\n')
        elif not line.text.startswith(_PROGRESS):  # shown by its event
            printer.show(line)


class EventPrinter:
    """Prints what a person wants to know of a job's events, one line each."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._progress: tuple[Decimal, str] = (Decimal(-1), "")

    def show(self, event: EventView) -> None:
        text = self._text(event)
        if text:
            console = render.console(self._state, stderr=True)
            style = render.STYLES.get(str(event.data.get("state", "")), "dim")
            console.print(f"{render.clock(event.time)}  {text}", style=style, soft_wrap=True)

    def _text(self, event: EventView) -> str:
        data = {key: render.printable(str(value)) for key, value in event.data.items()}
        kind = event.type.removeprefix("cortex.")
        if kind == "job.state.changed":
            now = data.get("state", "?")
            # The end gets a summary of its own.
            return "" if now in TERMINAL_JOB_STATES else _state_line(now, data.get("message", ""))
        if kind == "job.progress":
            return self._progressed(event.data)
        if kind == "job.frames":
            return frames_line(event.data)
        words = {
            "job.cancel.requested": f"asked to cancel  {data.get('reason', '')}",
            "job.extended": f"deadline moved  {data.get('deadline_at', '')}",
            "job.deadline.near": f"{data.get('message', '')}; {data.get('next', '')}",
            "job.outputs.stored": f"{data.get('files', '')} result file(s) kept"
            f"; {data.get('message', '')}".removesuffix("; "),
            "lease.intended": f"trying `{data.get('provider', '')}` for "
            f"{data.get('price_per_hour', '?')}/h",
            "job.trouble": f"{data.get('message', '')}; {data.get('next', '')}",
            "lease.failed": f"`{event.subject}`: {data.get('message', '')}"
            f"; {data.get('next', '')}".removesuffix("; "),
        }
        return words.get(kind, "").rstrip()

    def _progressed(self, data: dict[str, Any]) -> str:
        message = render.printable(str(data.get("message") or ""))
        try:
            now = Decimal(str(data["progress"]))
        except (KeyError, ArithmeticError):
            return message  # such as the pulling of an image
        last, last_message = self._progress
        if now < last + _STEP and message == last_message and now < 1:
            return ""
        self._progress = now, message
        return f"{now:.0%}  {message}".rstrip()


def frames_line(data: dict[str, Any]) -> str:
    """`50%  frame 12 done; 12 of 24 · 0.0004 USD · tried 2 times`."""
    text = render.printable(str(data.get("message") or ""))
    with contextlib.suppress(KeyError, ArithmeticError):
        text = f"{Decimal(str(data['progress'])):>4.0%}  {text}"
    frames = [frame for frame in data.get("frames") or [] if isinstance(frame, dict)]
    if len(frames) == 1:
        text += _one_frame(frames[0])
    failed = [frame for frame in frames if frame.get("state") == "failed"]
    if failed:
        text += f" ({render.printable(str(failed[0].get('message', '')))})"
    return text


def _one_frame(frame: dict[str, Any]) -> str:
    cost, attempts = frame.get("cost"), frame.get("attempts", 1)
    text = f" · {cost.get('amount')} {cost.get('currency')}" if isinstance(cost, dict) else ""
    return (
        f"{text} · tried {attempts} times" if isinstance(attempts, int) and attempts > 1 else text
    )


def _state_line(state: str, message: str) -> str:
    return message if message.startswith(state) else f"{state}  {message}".rstrip()


async def _interrupted(
    state: State,
    what: Followed,
    shown: "asyncio.Future[T]",
    interrupted: asyncio.Event,
) -> int | None:
    """Ctrl-C: cancel it or leave it. None: it has ended meanwhile."""
    if not interactive() or state.json:
        render.say(state, f"interrupted; {what.noun} {what.id} goes on")
        what.say_hints(state)
        return ExitCode.INTERRUPTED
    choice = await _ask(interrupted, shown, what.noun)
    if choice is None:
        return None
    if choice == "detach":
        render.say(state, f"{what.noun} {what.id} goes on")
        what.say_hints(state)
        return ExitCode.OK
    await what.cancel()
    with interrupts() as again:
        asked = asyncio.ensure_future(again.wait())
        waiting: set[asyncio.Future[Any]] = {shown, asked}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not shown.done():
            render.say(state, "it is being cancelled; not waiting for it")
    return ExitCode.INTERRUPTED


async def _ask(
    interrupted: asyncio.Event, shown: "asyncio.Future[T]", noun: str = "job"
) -> Choice | None:
    """The answer; None if it ended before there was one.

    The line is read by the event loop: a thread that waits for it could not be interrupted.
    """
    lines: asyncio.Queue[str] = asyncio.Queue()
    keyboard = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    loop.add_reader(
        keyboard, lambda: lines.put_nowait(os.read(keyboard, 4096).decode(errors="replace"))
    )
    try:
        while True:
            typer.echo(f"\n[c]ancel the {noun} or {_DETACH} [c]: ", nl=False, err=True)
            line = asyncio.ensure_future(lines.get())
            again = asyncio.ensure_future(interrupted.wait())
            waiting: set[asyncio.Future[Any]] = {line, again, shown}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            again.cancel()
            if shown.done():
                line.cancel()
                return None
            if not line.done() or not line.result():  # Ctrl-C or the end of the input
                line.cancel()
                return "cancel"
            word = line.result().strip().lower()
            if word in ("", "c", "cancel"):
                return "cancel"
            if word in ("d", "detach"):
                return "detach"
    finally:
        loop.remove_reader(keyboard)


@contextlib.contextmanager
def interrupts() -> Iterator[asyncio.Event]:
    """Set at SIGINT or SIGTERM, in place of an exception in the middle of something."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    try:
        yield interrupted
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def unpacked(error: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real error inside a group."""
    for inner in error.exceptions:
        return unpacked(inner) if isinstance(inner, BaseExceptionGroup) else inner
    return CliError("unknown error")
