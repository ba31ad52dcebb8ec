"""What a job takes of the disk, and what is left there for everybody else."""

import json
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from providers.local.shim.processes import process_stat

SHARE = "disk"
"""In the folder of a lease: what its job takes of the disk, in digits, written in place."""
REGULAR = 5.0
LONGEST, SHORTEST = 0.5, 0.02
LEAST = 64 * 1024
"""Bytes that each job may take, however little its `storage` is."""
# Bytes per second. No disk is written faster than the first; the second is a guess at a job.
_DISK_SPEED, _JOB_SPEED = 4 * 2**30, 2 * 2**30
_TELLING = 0.1
_STILL = 1.0
_AGAIN = 1.0
_LEAST_FILES = 1000


@dataclass(frozen=True)
class Taken:
    """Of the disk by one job: bytes in blocks, and files with folders."""

    size: int = 0
    files: int = 0


@dataclass(frozen=True)
class Space:
    """Of one file system."""

    total: int
    free: int
    files: int
    free_files: int

    @classmethod
    def of(cls, path: str) -> "Space":
        facts = os.statvfs(path)
        block = facts.f_frsize
        return cls(facts.f_blocks * block, facts.f_bavail * block, facts.f_files, facts.f_favail)


def taken(folders: list[str], pids: list[int]) -> Taken:
    """What the folders hold, links not followed, and what the processes hold of removed files.

    A file with several names counts once.
    """
    size = files = 0
    seen: set[int] = set()
    todo = list(folders)
    while todo:
        with suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    todo.append(entry.path)
                elif facts.st_nlink > 1:
                    if facts.st_ino in seen:
                        continue
                    seen.add(facts.st_ino)
                size += facts.st_blocks * 512
                files += 1
    removed = _removed(os.stat(folders[0]).st_dev, pids)
    return Taken(size + sum(removed.values()), files + len(removed))


def _removed(device: int, pids: list[int]) -> dict[int, int]:
    """Files without a name that processes have open: their blocks are not free yet."""
    removed: dict[int, int] = {}
    for pid in pids:
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    facts = os.stat(entry.path)
                    if not facts.st_nlink and facts.st_dev == device:
                        removed[facts.st_ino] = facts.st_blocks * 512
    return removed


class DiskWatch:
    """Judges one job: by its own limit, and by what has to stay free on the disk.

    A walk over the job's files is dear, a look at the file system is not. So the walk is made
    every few seconds, and besides when the file system has lost so much since the last one that
    the job may be over its limit, or has less left than is to be kept free. Then all jobs stand
    still for a moment and tell what they hold, and the one that holds the most has to go. It makes
    room by itself (`shim.room`), before others are told of its end.
    """

    def __init__(
        self,
        lease: str,
        folders: list[str],
        *,
        limit: int,
        keep_free: int,
        pids: Callable[[], list[int]],
        freeze: Callable[[bool], None],
    ) -> None:
        self.lease, self.folders, self.pids, self.freeze = lease, folders, pids, freeze
        self.limit = max(limit, LEAST)
        self.keep_free = keep_free
        self.now = Taken()
        self.held = 0
        self.free_then = 0
        self.walk_at = 0.0
        self.rest_until = 0.0
        self.judge_at: float | None = None
        self.low_at = (0.0, 0)
        self.judged: int | None = None
        self.still_until = 0.0

    def look(self) -> tuple[str, float]:
        """Why the job has to go, or nothing; and in how many seconds to look again."""
        try:
            return self._look(time.monotonic(), Space.of(self.folders[0]))
        except OSError:
            return "", LONGEST

    def low(self) -> bool:
        """Whether less than is to be kept is free now."""
        try:
            return self._low(Space.of(self.folders[0]))
        except OSError:
            return False

    def tell(self) -> None:
        """Tell the shims of other jobs what this one still holds, after its end."""
        with suppress(OSError):
            self._walk(Space.of(self.folders[0]))

    def _look(self, now: float, space: Space) -> tuple[str, float]:
        if self.judge_at is not None:
            if now < self.judge_at:
                return "", self.judge_at - now
            why = self._judge(space)
            if not why and self._holds_much(space) and self._low(space) and now < self.still_until:
                # Another one goes: what it makes free must not be written full meanwhile.
                self.judge_at = now + LONGEST / 10
                return "", LONGEST / 10
            self.judge_at = None
            if not why:
                self.low_at = (now, space.free)
                self.freeze(False)
            return why, SHORTEST
        low = self._low(space)
        if not low:
            self.judged = None
        since, free = self.low_at
        again = now > since + _AGAIN or space.free < free - self.keep_free // 8
        if low and again:
            self.freeze(True)
            self.low_at = (now, space.free)
        if (low and again) or self._walk_is_due(now, space):
            self._walk(space)
        # A file is stopped at the limit: who has just that much wanted more.
        if self.now.size >= self.limit:
            return self._over_limit(), SHORTEST
        if low and again:
            self.judge_at = time.monotonic() + _TELLING
            self.still_until = self.judge_at + _STILL
            return "", _TELLING
        return "", self._pause(space)

    def _low(self, space: Space) -> bool:
        if not self.keep_free:
            return False
        least = min(_LEAST_FILES, space.files // 4)
        return space.free < self.keep_free or (space.files > 0 and space.free_files < least)

    def _walk_is_due(self, now: float, space: Space) -> bool:
        if now < self.rest_until:
            return False
        lost = self.free_then - space.free
        return now >= self.walk_at or lost > max(0, self.limit - self.now.size) // 2

    def _walk(self, space: Space) -> None:
        began = time.monotonic()
        self.now, self.free_then = taken(self.folders, self.pids()), space.free
        # Its log has a limit of its own; what is freed by its end counts that too.
        self.held = self.now.size + taken([os.path.join(self.lease, "log")], []).size
        took = time.monotonic() - began
        ended = began + took
        # A walk over many files must stay the exception.
        self.walk_at, self.rest_until = ended + max(REGULAR, 20 * took), ended + 9 * took
        self._tell()

    def _pause(self, space: Space) -> float:
        """No longer than it would take to write so much that something has to be done."""
        room = space.free - self.keep_free
        left = (self.limit - self.now.size) // 2 - max(0, self.free_then - space.free)
        soon = left / _JOB_SPEED
        if self.keep_free and room > 0:
            soon = min(soon, room / _DISK_SPEED)
        return min(LONGEST, max(SHORTEST, soon))

    def _tell(self) -> None:
        """For the shims of the other jobs. In place: no new block is needed on a full disk."""
        with suppress(OSError):
            fd = os.open(os.path.join(self.lease, SHARE), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(fd, b"%020d %020d" % (self.held, self.now.files), 0)
            finally:
                os.close(fd)

    def _judge(self, space: Space) -> str:
        """Whether this job is the one to go, now that all have told what they hold."""
        if not self._low(space):
            return ""
        if not self._holds_much(space):
            return ""  # Its end would help nobody.
        short_of_files = space.free >= self.keep_free
        mine = self.now.files if short_of_files else self.held
        before, self.judged = self.judged, mine
        grows = before is not None and mine - before > self.keep_free // 16
        part = 2 if grows else 4
        out_of_room = not short_of_files and part * space.free < self.keep_free
        name = os.path.basename(self.lease)
        for other, share, ended in self._others():
            theirs = share.files if short_of_files else share.size
            if ended:
                # Its files are about to be freed, if the servers have the room that it takes.
                if 2 * theirs > mine and not out_of_room:
                    return ""
            elif (theirs, other) > (mine, name):
                return ""
        return self._disk_full(space)

    def _holds_much(self, space: Space) -> bool:
        """Of what there is too little."""
        if space.free >= self.keep_free:
            return self.now.files >= 100
        return self.held >= max(2**20, self.keep_free // 16)

    def _others(self) -> list[tuple[str, Taken, bool]]:
        """The other leases here: what each takes, and whether its job has ended."""
        others: list[tuple[str, Taken, bool]] = []
        above, own = os.path.split(self.lease)
        for name in os.listdir(above):
            if name == own:
                continue
            folder = os.path.join(above, name)
            with suppress(OSError, ValueError), open(os.path.join(folder, SHARE)) as file:
                size, files = file.read().split()
                others.append((name, Taken(int(size), int(files)), _has_ended(folder)))
        return others

    def _over_limit(self) -> str:
        used, limit = _mebibytes(self.now.size), _mebibytes(self.limit)
        return f"killed: over its storage limit: it took {used} of {limit} (`resources.storage`)"

    def _disk_full(self, space: Space) -> str:
        held = f"{_mebibytes(self.held)} in {self.now.files} files"
        left = f"{_mebibytes(space.free)} and {space.free_files} files are free"
        return (
            f"killed: the disk is nearly full, and of all jobs on it this one took the most: {held}"
            f"; {left}, {_mebibytes(self.keep_free)} are kept for Cortex (`keep_free`)"
        )


def _has_ended(folder: str) -> bool:
    """Of a lease: whether its shim says so, or is gone."""
    try:
        with open(os.path.join(folder, "status.json")) as file:
            status = json.load(file)
        return status.get("finished_at") is not None or (
            int(process_stat(status["pid"])[19]) != status["ticks"]
        )
    except (OSError, ValueError, KeyError, IndexError):
        return True


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
