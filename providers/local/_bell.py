"""The bell that shims ring: an inotify watch on one folder; no thread, no polling."""

import asyncio
import ctypes
import os
from pathlib import Path

_IN_ATTRIB, _IN_CLOSE_WRITE, _IN_CREATE = 0x4, 0x8, 0x100


class Bell:
    """Tells when a file in the folder was touched. A ring that nobody awaits is remembered for
    the next who waits; all who wait already are woken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rung = asyncio.Event()
        self._fd: int | None = None

    def open(self) -> bool:
        """Begin to listen in the running event loop; false where the system allows no watch."""
        if self._fd is not None:
            return True
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            return False
        mask = _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_CREATE
        if libc.inotify_add_watch(fd, os.fsencode(self._folder), mask) < 0:
            os.close(fd)
            return False
        self._fd = fd
        self._rung.set()  # What happened before is not known.
        asyncio.get_running_loop().add_reader(fd, self._on_ring, fd)
        return True

    def close(self) -> None:
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or after so many seconds."""
        try:
            await asyncio.wait_for(self._rung.wait(), seconds)
        except TimeoutError:
            return
        self._rung.clear()

    def _on_ring(self, fd: int) -> None:
        try:
            os.read(fd, 64 * 1024)
        except BlockingIOError:
            return
        self._rung.set()
