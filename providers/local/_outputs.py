"""Copying result files out of a working folder that a job, friendly or not, has filled.

Every step goes through an open folder and refuses links, so nothing that is swapped while we
walk can lead out. A link of the job's is followed by `choose`, over what it says.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cortex.disk import Disk
from cortex.domain.units import about_bytes
from providers.collected import Collected
from providers.outputs import Kind, Node, choose
from providers.outputs.tree import FOLDER
from providers.outputs.write import write

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.LINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.DEVICE,
    stat.S_IFBLK: Kind.DEVICE,
    stat.S_IFSOCK: Kind.SOCKET,
}


class OutputCopier:
    """Copies at most `limit` bytes from below `source` to below `destination`.

    `workdir` is what the job calls `source`. A file that does not fit, there or on
    the disk, is left out, and the next one is tried.
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
        self._root = b"/" + workdir.strip("/").encode() if workdir.strip("/") else b""
        self._destination = destination
        self._keep_free = keep_free
        self._limit = limit

    def copy(self, declared: Sequence[str]) -> Collected:
        """Copy what is declared. Blocking.

        Raises:
            OSError: the disk is full, or may not be written.
        """
        tree = _FolderTree(self._source, self._root)
        try:
            choice = choose(tree, self._root, declared)
            return write(
                choice,
                self._destination,
                self._limit,
                tree.open,
                limited="the job may keep (`resources.storage`)",
                room=self._no_room,
            )
        finally:
            tree.close()

    def _no_room(self, size: int) -> str:
        """Why the disk does not take so many bytes; empty if it does."""
        room = Disk.of(self._destination, self._keep_free).room
        if size > room:
            return f"has {about_bytes(size)}, and the disk has room for {about_bytes(room)} more"
        return ""


class _FolderTree:
    """A folder of this machine as a tree below `root`."""

    def __init__(self, source: Path, root: bytes) -> None:
        self._source = source
        self._root = root
        self._links: dict[tuple[int, int], Node] = {}
        self._known: dict[bytes, Node | None] = {}
        self._near: tuple[bytes, int] | None = None

    def node(self, path: bytes) -> Node | None:
        if self._root == path or self._root.startswith(path + b"/"):
            return FOLDER
        if path not in self._known:
            self._known[path] = self._look(path)
        return self._known[path]

    def children(self, path: bytes) -> list[bytes]:
        try:
            return sorted(map(os.fsencode, os.listdir(self._folder(path))))
        except OSError:
            return []

    def open(self, node: Node) -> IO[bytes] | None:
        above, _, name = bytes(node.place).rpartition(b"/")
        fd = os.open(name, _FILE, dir_fd=self._folder(above))
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        return os.fdopen(fd, "rb")

    def close(self) -> None:
        if self._near is not None:
            os.close(self._near[1])
            self._near = None

    def _look(self, path: bytes) -> Node | None:
        above, _, name = path.rpartition(b"/")
        try:
            folder = self._folder(above)
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            kind = _KINDS.get(stat.S_IFMT(facts.st_mode), Kind.ODD)
            target = os.readlink(name, dir_fd=folder) if kind is Kind.LINK else b""
            need = os.R_OK | os.X_OK if kind is Kind.FOLDER else os.R_OK
            plain = kind in (Kind.FILE, Kind.FOLDER)
            if plain and not os.access(name, need, dir_fd=folder, effective_ids=True):
                return Node(Kind.UNREADABLE)
        except OSError:
            return None  # it, or what it lies in, is not there (any more) or is a link
        node = Node(kind, target=target, size=facts.st_size, mode=facts.st_mode, place=path)
        if kind is not Kind.FILE or facts.st_nlink == 1:
            return node
        return self._links.setdefault((facts.st_dev, facts.st_ino), node)

    def _folder(self, path: bytes) -> int:
        """The open folder of a path; open until the next is asked for."""
        if self._near is not None and self._near[0] == path:
            return self._near[1]
        if path != self._root and not path.startswith(self._root + b"/"):
            raise FileNotFoundError(path)
        fd = os.open(self._source, _FOLDER)
        for part in filter(None, path.removeprefix(self._root).split(b"/")):
            try:
                below = os.open(part, _FOLDER, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        self.close()
        self._near = (path, fd)
        return fd
