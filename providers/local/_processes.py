"""Knowing a process again, ending it, waiting for its end; never another that got its number."""

import asyncio
import os
import signal
from pathlib import Path

from providers.local.shim.processes import kill, process_stat

MARK = "CORTEX_LEASE_KEY"
"""The variable by which a job's processes are known."""


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def is_alive(pid: int, ticks: int) -> bool:
    """Whether the process that started at `ticks` still runs under this number."""
    try:
        fields = process_stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] not in ("Z", "X") and int(fields[19]) == ticks


async def end_process(pid: int, ticks: int, patience: float) -> None:
    """SIGTERM, then SIGKILL after `patience` seconds; returns when the process is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, None)):
            # The handle is fixed now: if the ticks are right, no other process can be meant.
            if not is_alive(pid, ticks):
                return
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return
            if await _gone(handle, wait):
                return
    finally:
        os.close(handle)


async def _gone(handle: int, seconds: float | None) -> bool:
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    # A second number for the same handle: two waiters must not share one in the event loop.
    watched = os.dup(handle)
    loop.add_reader(watched, gone.set)
    try:
        await asyncio.wait_for(gone.wait(), seconds)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(watched)
        os.close(watched)
    return True


def kill_marked(key: str) -> None:
    """Kill what a lost lease left behind, by the mark in the environment."""
    mark = f"{MARK}={key}".encode()
    for _ in range(50):
        marked = [pid for pid in _pids() if mark in _environment(pid).split(b"\0")]
        if not marked:
            return
        for pid in marked:
            kill(pid, signal.SIGKILL)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
