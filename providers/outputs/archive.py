"""Reads the archive that a job's container has sent; it is untrusted input.

It is a tar, perhaps gzipped, of paths from the root, with a trailer: what `pack.sh` knows and a tar
cannot say. A tar without a trailer, from a runner of an earlier Cortex, has paths relative to the
working folder.
"""

import gzip
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, cast

from providers.collected import Collected
from providers.errors import Unavailable
from providers.outputs import plain
from providers.outputs.choose import choose
from providers.outputs.tree import MAX_NODES, Kind, Node, Tree
from providers.outputs.write import write

_BEGIN = b"\ncortex-outputs 1//\n"
_END = b"whole//\n"
_MAX_TRAILER = 64 * 2**20
_GZIP = b"\x1f\x8b"
_KINDS = {
    tarfile.SYMTYPE: Kind.LINK,
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.FIFOTYPE: Kind.FIFO,
    tarfile.CHRTYPE: Kind.DEVICE,
    tarfile.BLKTYPE: Kind.DEVICE,
}
_NOTES = {b"unreadable": Kind.UNREADABLE, b"socket": Kind.SOCKET, b"odd": Kind.ODD}
_NAMES: Final[dict[str, Any]] = {"encoding": "utf-8", "errors": "surrogateescape"}
_DAMAGED = "the job's outputs arrived damaged"


def unpack_archive(
    archive: Path, declared: Sequence[str], destination: Path, limit: int
) -> Collected:
    """Write the declared files of an archive below `destination`. Blocking: run it in a thread.

    Args:
        archive: What `pack.sh` has written.
        declared: Paths and patterns of the job's spec.
        destination: Nothing is written but below it.
        limit: Bytes that may be written; a file that does not fit is left out, and named.

    Raises:
        Unavailable: it is no whole archive.
        OSError: the disk is full, or may not be written.
    """
    try:
        with _opened(archive) as file:
            archived = read(file)
            choice = choose(archived.tree, archived.root, declared)
            return write(choice, destination, limit, archived.open, archived.order)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Unavailable(_DAMAGED) from error


@dataclass
class Archived:
    """A tree with what has its content: a tar, or a plain archive."""

    file: IO[bytes]
    tar: tarfile.TarFile | None = None
    root: bytes = b""
    tree: Tree = field(default_factory=Tree)

    def open(self, node: Node) -> IO[bytes] | None:
        if self.tar is None:
            return cast(IO[bytes], plain.Part(self.file, *node.place))
        return self.tar.extractfile(node.place)

    def order(self, node: Node) -> int:
        """Where its content stands: what is gzipped is read from its beginning to its end."""
        place = node.place
        if place is None:
            return 0
        return int(place.offset if isinstance(place, tarfile.TarInfo) else place[0])


def read(file: IO[bytes]) -> Archived:
    """The tree of an archive. `file` stays in use as long as what is returned.

    Raises:
        TarError, EOFError, Unavailable: it is no whole archive.
    """
    archived = Archived(file)
    if file.read(len(plain.MAGIC)) == plain.MAGIC:
        end = plain.index(file, archived.tree)
    else:
        file.seek(0)
        archived.tar = tarfile.open(fileobj=file, mode="r:", **_NAMES)  # noqa: SIM115
        index(archived.tar, archived.tree)
        end = archived.tar.offset
    file.seek(end)
    rest = file.read(_MAX_TRAILER)
    if archived.tar is not None and not rest.startswith(bytes(tarfile.BLOCKSIZE)):
        raise Unavailable(_DAMAGED)  # it breaks off
    start = rest.rfind(_BEGIN)
    if start >= 0:
        if not rest.endswith(_END):
            raise Unavailable(_DAMAGED)
        _trailer(rest[start + len(_BEGIN) : -len(_END)], archived)
    return archived


def index(
    tar: tarfile.TarFile,
    tree: Tree,
    named: Callable[[str], str] = lambda name: name,
    placed: Callable[[tarfile.TarInfo], Any] = lambda member: member,
) -> None:
    """Put the members of a tar into the tree.

    `named` makes paths from the root of their names, `placed` what a file's node has as `place`.

    Raises:
        TarError, EOFError: it is no whole archive.
    """
    count = 0
    for member in tar:
        count += 1
        if count > 2 * MAX_NODES:
            tree.full = True
            return
        path = _path(named(member.name))
        if path is None:
            continue
        if member.islnk():
            first = _path(named(member.linkname))
            known = tree.node(first) if first is not None else None
            if known is not None and known.kind is not Kind.FOLDER:
                tree.put(path, known)
            elif first != path:
                tree.put(path, Node(Kind.ODD))
        elif member.isreg():
            tree.put(
                path, Node(Kind.FILE, size=member.size, mode=member.mode, place=placed(member))
            )
        else:
            target = member.linkname.encode("utf-8", "surrogateescape")
            tree.put(path, Node(_KINDS.get(member.type, Kind.ODD), target=target))


def _opened(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        zipped = file.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(archive)) if zipped else archive.open("rb")


def _path(name: str) -> bytes | None:
    """The absolute path of a member; None where it leads anywhere by `..`."""
    raw = name.encode("utf-8", "surrogateescape")
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in raw:
        return None
    return b"".join(b"/" + part for part in parts)


def _trailer(text: bytes, archived: Archived) -> None:
    for line in text.split(b"//\n"):
        word, _, path = line.partition(b" ")
        if word == b"root":
            archived.root = path.rstrip(b"/")
        elif word in _NOTES:
            place = _path(path.decode("utf-8", "surrogateescape"))
            if place:
                archived.tree.put(place, Node(_NOTES[word]))
