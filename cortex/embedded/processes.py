"""Processes of the stack: known by pid file, told apart from strangers, ended in steps."""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from cortex.embedded.files import write_private

_PR_SET_PDEATHSIG = 1
_POLL = 0.05
# Process start times are computed from the boot time, which moves when the clock is set.
_CLOCK_SLACK = 2.0

# How to end a process: one signal after the other, each with the seconds it is given.
StopSteps = Sequence[tuple[signal.Signals, float]]


@dataclass(frozen=True)
class ProcessMark:
    """Enough to find a process again and to be sure that it is the same one.

    A pid alone is not: after a crash or a reboot it may belong to anything.
    """

    pid: int
    created: float
    marker: str

    @classmethod
    def of(cls, pid: int, marker: str) -> Self:
        """The mark of a process that runs now; `marker` is a part of its command line.

        Raises:
            psutil.NoSuchProcess: it has ended.
        """
        return cls(pid=pid, created=psutil.Process(pid).create_time(), marker=marker)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The mark in a pid file; None if there is none or it is not whole."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self)) + "\n")

    def find(self) -> psutil.Process | None:
        """The process, if it still runs and truly is the marked one."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < _CLOCK_SLACK
            alive = process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            if same and alive and self.marker in " ".join(process.cmdline()):
                return process
        except psutil.Error:
            pass
        return None


def dies_with_parent(with_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child does before it becomes its program: ask for a signal when we die.

    So a `kill -9` of the supervisor ends the stack in order instead of leaving it unwatched. Only
    Linux has it; elsewhere the next start stops what was left, by the pid files. The signal comes
    when the *thread* that started the child ends: start children from the main thread.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died in between: nobody will ever send the signal
            os._exit(1)

    return before_exec


async def wait_exit(process: psutil.Process, timeout: float) -> bool:
    """Whether a process, ours or not, ends within this time."""
    deadline = time.monotonic() + timeout
    while _runs(process):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL)
    return True


async def end_process(process: psutil.Process, steps: StopSteps) -> None:
    """End a process that is no child of ours, and what is left of its process group."""
    for step, seconds in (*steps, (signal.SIGKILL, 5.0)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(step)
        if await wait_exit(process, seconds):
            break
    kill_group(process.pid)


def kill_group(pgid: int) -> None:
    """Kill what is left of a child's process group. Detached jobs have sessions of their own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, signal.SIGKILL)


def memory_of(process: psutil.Process, *, everything: bool = False, alone: bool = False) -> int:
    """Bytes in memory of a process and those it started; shared pages count once where known.

    Args:
        process: The leader.
        everything: Count children in other sessions too (PostgreSQL's backends); without it they
            are left out: a job that runs detached is not the worker's memory.
        alone: Count no children at all.
    """
    family = [process]
    with contextlib.suppress(psutil.Error):
        family += [] if alone else process.children(recursive=True)
    total = 0
    for member in family:
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if everything or os.getsid(member.pid) == os.getsid(process.pid):
                total += _memory(member)
    return total


def _memory(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.rss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
