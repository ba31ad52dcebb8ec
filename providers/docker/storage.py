"""What the containers of jobs write into their root file systems, and what that leaves of the disk.

An engine can limit it by itself on one kind of disk only (overlay over XFS with project quotas), so
here it is watched. The engine's `SizeRw` has no volumes in it. To measure is dear, a look at the
disk is not: so it is done every few seconds, and when the disk has lost so much that a job may be
over its limit, or has less left than is to be kept free.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cortex.disk import Disk
from cortex.domain.units import about_bytes
from cortex.tasks import end_task
from providers.docker.containers import Containers
from providers.docker.marks import End, Marks
from providers.docker.names import KEY, STORAGE
from providers.docker.wire import Listed
from providers.errors import NoCapacity, ProviderError

KILLED = 137
_OVER = "killed: over its storage limit"
_REGULAR = 5.0
_LONGEST, _SHORTEST = 0.5, 0.05
# Bytes per second that no disk is written faster with.
_DISK_SPEED = 4 * 2**30
_BESIDES = 64 * 1024
_RUNNING = "running"


class StorageWatch:
    """Ends jobs that take too much; at work while somebody asks for states and a job runs."""

    def __init__(
        self, containers: Containers, marks: Marks, label: str, keep_free: int | None
    ) -> None:
        self._containers, self._marks, self._label = containers, marks, label
        self._keep_free = keep_free
        self.root = ""
        """Where the engine keeps everything, on this machine."""
        self._task: asyncio.Task[None] | None = None
        self._due = self._rest = 0.0
        self._free_then = self._left = 0
        self._before: dict[str, int] = {}

    def looking(self) -> None:
        """Somebody asks for the states of running jobs."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            await end_task(self._task)
            self._task = None

    async def require_room(self) -> None:
        """Raises: NoCapacity: less is free on the engine's disk than is to be kept."""
        disk = await self._disk()
        if disk is not None and disk.low:
            raise NoCapacity(
                f"{about_bytes(disk.free)} are free on the container engine's disk, in "
                f"{self.root}, and {about_bytes(disk.keep_free)} are kept free there (`keep_free`)"
            )

    async def _run(self) -> None:
        while True:
            pause = _LONGEST
            with suppress(ProviderError):
                disk = await self._disk()
                if self._is_due(disk) and not await self._measure():
                    return
                pause = self._pause(disk)
            await asyncio.sleep(pause)

    async def _disk(self) -> Disk | None:
        """None where it is not to be seen from here, as with an engine in a virtual machine."""
        root = Path(self.root)
        try:
            if not self.root or not await asyncio.to_thread(root.is_dir):
                return None
            return await asyncio.to_thread(Disk.of, root, self._keep_free)
        except OSError:
            return None

    def _is_due(self, disk: Disk | None) -> bool:
        now = time.monotonic()
        if now >= self._due:
            return True
        if disk is None or now < self._rest:
            return False
        return disk.low or self._free_then - disk.free > self._left // 2

    def _pause(self, disk: Disk | None) -> float:
        if disk is None:
            return _LONGEST
        left = max(0, self._left // 2 - max(0, self._free_then - disk.free))
        room = left if disk.low else min(left, disk.free - disk.keep_free)
        return min(_LONGEST, max(_SHORTEST, room / _DISK_SPEED))

    async def _measure(self) -> bool:
        """Ask for all sizes, and end what has to go; false if no job runs any more."""
        began = time.monotonic()
        disk = await self._disk()
        boxes = await self._containers.sizes(self._label)
        took = time.monotonic() - began
        self._due, self._rest = began + max(_REGULAR, 20 * took), began + 5 * took
        running = [box for box in boxes if box.state == _RUNNING]
        self._free_then = disk.free if disk else 0
        self._left = min((_limit(box) - box.size for box in running), default=0)
        for box in running:
            if box.size > _limit(box):
                await self._end(box, _over(box))
        if disk is not None and disk.low:
            await self._make_room(boxes, disk)
        self._before = {box.id: box.size for box in running}
        return bool(running)

    async def _make_room(self, boxes: list[Listed], disk: Disk) -> None:
        """End the largest job, unless what has ended already is about to be removed."""
        running = [box for box in boxes if box.state == _RUNNING]
        largest = max(running, key=lambda box: box.size, default=None)
        worth = max(2**20, disk.keep_free // 16)
        if largest is None or largest.size < worth or largest.size > _limit(largest):
            return
        ended = max((box.size for box in boxes if box.state != _RUNNING), default=0)
        grown = largest.size - self._before.get(largest.id, largest.size)
        takes_the_rest = 2 * disk.free < disk.keep_free and grown > worth
        if 2 * ended > largest.size and not takes_the_rest:
            return
        await self._end(
            largest,
            "killed: the disk is nearly full, and of all jobs on it this one took the most: "
            f"{about_bytes(largest.size)}; {about_bytes(disk.free)} are free, "
            f"{about_bytes(disk.keep_free)} are kept for Cortex (`keep_free`)",
        )

    async def _end(self, box: Listed, why: str) -> None:
        """The reason first: once it is dead, somebody may ask."""
        await self._marks.put_end((box.labels or {})[KEY], End(KILLED, why))
        await self._containers.kill(box.id)


def allowed_after(end: End | None, labels: Mapping[str, str]) -> int | None:
    """Bytes that a job may keep which was killed for its storage: no more than that; else None."""
    return _allowed(labels) if end is not None and end.message.startswith(_OVER) else None


def _limit(box: Listed) -> int:
    return _allowed(box.labels or {})


def _allowed(labels: Mapping[str, str]) -> int:
    text = labels.get(STORAGE, "")
    # Containers of an earlier Cortex do not say it.
    return max(int(text), _BESIDES) if text.isdigit() else 2**62


def _over(box: Listed) -> str:
    used, limit = about_bytes(box.size), about_bytes(_limit(box))
    return f"{_OVER}: it took {used} of {limit} (`resources.storage`)"
