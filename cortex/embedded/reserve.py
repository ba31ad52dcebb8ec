"""A file that takes room on the disk, to be given to the servers when there is no more."""

import os
from pathlib import Path
from typing import Literal

from cortex.disk import Disk

_LEAST = 8 * 2**20


class Reserve:
    """Room that nobody else can take: a file of half the size of what is kept free.

    What is kept free keeps local jobs away. It cannot keep other programs away, or results of
    jobs elsewhere: when these have filled the disk, the servers can go on with this, and end jobs
    and remove what they hold. It is made again once there is enough space.
    """

    def __init__(self, path: Path, keep_free: int | None) -> None:
        self._path = path
        self._keep_free = keep_free

    def tend(self) -> Literal["made", "released"] | None:
        """Make it, or let it go, as the disk is now. Blocks shortly.

        Returns:
            What was done, if anything.
        """
        try:
            disk = Disk.of(self._path.parent, self._keep_free)
            size = disk.keep_free // 2
            if self._path.exists():
                if disk.free >= size // 2:
                    return None
                self._path.unlink()
                return "released"
            if size < _LEAST or disk.free < disk.keep_free + 2 * size:
                return None
            self._make(size)
        except OSError:
            return None
        return "made"

    def _make(self, size: int) -> None:
        draft = self._path.with_name(f".{self._path.name}")
        try:
            with draft.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
