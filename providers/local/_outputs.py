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

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_DEPTH = 100
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class OutputCopier:
    """Copies at most `limit` bytes from below `source` to below `destination`."""

    def __init__(self, source: Path, workdir: str, destination: Path, limit: int) -> None:
        self._source = source
        self._workdir = PurePosixPath(workdir)
        self._destination = destination
        self._left = limit
        self.written: list[Path] = []

    def copy(self, declared: Sequence[str]) -> list[Path]:
        """The files written, relative to the destination."""
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
        return sorted(set(self.written))

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
            # A file full of holes takes no disk there, and all of ours here.
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > self._left:
                return
            self._left -= facts.st_size
            path = self._destination / target
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                shutil.copyfileobj(source, out, 2**20)
        self.written.append(target)


def _readable(name: str) -> str:
    """The name with U+FFFD for what is no UTF-8: it goes into JSON and a database."""
    return os.fsencode(name).decode(errors="replace")
