"""Collecting results must leave the servers room on the disk, and says what is not kept."""

import asyncio
import shutil
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from cortex.disk import Disk
from cortex.domain.units import about_bytes
from cortex.tasks import end_task
from providers.collected import LeftOut

T = TypeVar("T")
_LOOK = 0.2
_MOST_NAMED = 10


class NoRoom(Exception):
    """The disk has no room for what is to be kept."""


async def while_there_is_room(
    folder: Path, keep_free: int | None, work: Coroutine[Any, Any, T]
) -> T:
    """What `work`, which writes below the folder, returns; it is cancelled when room runs out.

    Args:
        folder: On the disk that is watched.
        keep_free: Bytes; half of them are for results, and a quarter is where it ends. None: the
            usual number.
        work: Runs as a task of its own.

    Raises:
        NoRoom: less than that quarter was free, and `work` did not end by itself.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK))[0]:
            disk = await asyncio.to_thread(Disk.of, folder, keep_free)
            if disk.free < disk.keep_free // 4:
                raise NoRoom(
                    f"the disk of {folder.parent} has no room for them: "
                    f"{about_bytes(disk.free)} are free there"
                )
        return task.result()
    finally:
        if not task.done():
            with suppress(Exception):
                await end_task(task)


def drop_parts(outputs_dir: Path, lease_key: str) -> None:
    """Remove what tries that were broken off (a killed worker) have left of collecting a lease."""
    for part in outputs_dir.glob(f".{lease_key}.*.part"):
        shutil.rmtree(part, ignore_errors=True)


def not_kept(left_out: Sequence[LeftOut]) -> str:
    """A sentence that names what is not kept; empty if there is nothing."""
    if not left_out:
        return ""
    named = [f"`{each.path}` {each.reason}" for each in left_out[:_MOST_NAMED]]
    more = len(left_out) - len(named)
    return f"not kept: {'; '.join(named)}{f'; and {more} more' if more else ''}"[:900]
