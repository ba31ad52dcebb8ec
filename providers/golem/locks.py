"""One at a time for each lease, in this process and in all processes of this machine.

The daemon has no idempotency keys and books parallel acceptances of one bill several times, so
whoever creates, ends or pays for a lease holds its lock.
"""

import asyncio
import hashlib
import os
import tempfile
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: one process must serve a daemon there
    fcntl = None  # type: ignore[assignment]

_EVERY = 0.05
_local: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()


@asynccontextmanager
async def alone(url: str, key: str) -> AsyncIterator[None]:
    """Hold the lock of one lease at one daemon."""
    name = hashlib.sha256(f"{url} {key}".encode()).hexdigest()[:32]
    lock = _local.setdefault(name, asyncio.Lock())
    async with lock:
        if fcntl is None:
            yield
            return
        path = _folder() / name
        fd = await _taken(path)
        try:
            yield
        finally:
            # Who waits for this file sees that it is no longer the one with the name.
            with suppress(FileNotFoundError):
                path.unlink()
            os.close(fd)


async def _taken(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        ours = False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.stat(path).st_ino == os.fstat(fd).st_ino
            if ours:
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            if not ours:
                os.close(fd)
        await asyncio.sleep(_EVERY)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"cortex-golem-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
