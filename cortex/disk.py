"""How much of a disk is to stay free, so that the servers whose data is on it can go on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LEAST, _MOST = 64 * 2**20, 256 * 2**20
"""PostgreSQL adds log files of 16 MiB, 256 MiB of them in all (`max_wal_size`)."""

FULL: Final = "no space left on device"


def usual_keep_free(total: int) -> int:
    """Bytes to keep free where nobody has said how many: 5 % of the disk, 64 to 256 MiB of it.

    Of a disk that is smaller than 256 MiB it is a quarter.
    """
    return min(max(total // 20, _LEAST), _MOST, total // 4)


@dataclass(frozen=True)
class Disk:
    """The file system of a folder, in bytes; `free` is what an ordinary user may still write."""

    total: int
    free: int
    keep_free: int

    @classmethod
    def of(cls, folder: Path, keep_free: int | None = None) -> "Disk":
        """As it is now.

        Args:
            folder: It, or the first folder above it that is there.
            keep_free: Bytes; None: the usual number.

        Raises:
            OSError: nothing can be said about it.
        """
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        facts = os.statvfs(folder)
        total = facts.f_blocks * facts.f_frsize
        keep = usual_keep_free(total) if keep_free is None else keep_free
        return cls(total, facts.f_bavail * facts.f_frsize, keep)

    @property
    def low(self) -> bool:
        """Whether less is free than is to be kept."""
        return self.free < self.keep_free

    @property
    def room(self) -> int:
        """Bytes that results may take: half of what is kept free is for them when it is low."""
        return max(0, self.free - self.keep_free // 2)
