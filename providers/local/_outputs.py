"""Copying result files out of a working folder that a job, friendly or not, has filled.

Every step goes through an open folder and refuses links, so nothing that is swapped while we
walk can lead out. Links are left out altogether, as is what is neither file nor folder.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from cortex.disk import Disk
from cortex.domain.units import about_bytes
from providers.collected import Collected, LeftOut

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_DEPTH = 100
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class OutputCopier:
    """Copies at most `limit` bytes from below `source` to below `destination`.

    A file that does not fit, there or on the disk, is left out, and the next one is tried.
    """

    def __init__(
        self,
        source: Path,
        workdir: str,
        destination: Path,
        limit: int,
        keep_free: int | None = None,
    ) -> None:
        self._source = source
        self._workdir = PurePosixPath(workdir)
        self._destination = destination
        self._keep_free = keep_free
        self._left = self._limit = limit
        self.written: list[Path] = []
        self.left_out: dict[Path, str] = {}

    def copy(self, declared: Sequence[str]) -> Collected:
        """The files written, relative to the destination, and those left out."""
        for text in declared:
            path = self._inside(text)
            if path is None:
                continue
            try:
                with self._opened(path.parent) as folder:
                    self._copy_entry(folder, path.name, Path(path.parent), 0)
            except OSError as error:
                # Else it, or what it lies in, is not there (any more) or is a link.
                if error.errno in _DISK_TROUBLE:
                    raise
        written = set(self.written)
        left = [LeftOut(str(path), why) for path, why in self.left_out.items()]
        return Collected(sorted(written), left_out=left)

    def _inside(self, text: str) -> PurePosixPath | None:
        path = PurePosixPath(text)
        if path.is_absolute():
            if not path.is_relative_to(self._workdir):
                return None
            path = path.relative_to(self._workdir)
        return None if ".." in path.parts or not path.parts else path

    @contextmanager
    def _opened(self, path: PurePosixPath) -> Iterator[int]:
        fd = os.open(self._source, _FOLDER)
        try:
            for part in path.parts:
                below = os.open(part, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def _copy_entry(self, folder: int, name: str, where: Path, depth: int) -> None:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode):
            self._copy_file(folder, name, where / _readable(name))
        elif stat.S_ISDIR(mode) and depth < _MAX_DEPTH:
            fd = os.open(name, _FOLDER, dir_fd=folder)
            try:
                for child in sorted(os.listdir(fd)):
                    with suppress(FileNotFoundError):
                        self._copy_entry(fd, child, where / _readable(name), depth + 1)
            finally:
                os.close(fd)

    def _copy_file(self, folder: int, name: str, target: Path) -> None:
        fd = os.open(name, _FILE, dir_fd=folder)
        with os.fdopen(fd, "rb") as source:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                return
            # A file full of holes takes no disk there, and all of ours here.
            why_not = self._does_not_fit(facts.st_size)
            if why_not:
                self.left_out[target] = why_not
                return
            self._left -= facts.st_size
            path = self._destination / target
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                shutil.copyfileobj(source, out, 2**20)
        self.written.append(target)

    def _does_not_fit(self, size: int) -> str:
        if size > self._left:
            return (
                f"has {size} bytes; that is more than is left of the {self._limit} bytes that the "
                "job may keep (`resources.storage`)"
            )
        room = Disk.of(self._destination, self._keep_free).room
        if size > room:
            return f"has {about_bytes(size)}, and the disk has room for {about_bytes(room)} more"
        return ""


def _readable(name: str) -> str:
    """The name with U+FFFD for what is no UTF-8: it goes into JSON and a database."""
    return os.fsencode(name).decode(errors="replace")
