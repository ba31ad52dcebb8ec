"""The archive that `pack.sh` makes where an image has no `tar`: a line for each file, its bytes."""

import io
from typing import IO

from providers.errors import Unavailable
from providers.outputs.tree import FOLDER, Kind, Node, Tree

MAGIC = b"cortex-plain 1//\n"
_OTHER = {b"d": FOLDER, b"p": Node(Kind.FIFO), b"c": Node(Kind.DEVICE)}
_MAX_LINE = 64 * 1024


class Part(io.RawIOBase):
    """A stretch of a file, as a file of its own; closing it leaves the whole open."""

    def __init__(self, whole: IO[bytes], start: int, size: int) -> None:
        self._whole = whole
        self._at = start
        self._end = start + size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._at
        self._whole.seek(self._at)
        block = self._whole.read(left if size < 0 else min(size, left))
        self._at += len(block)
        return block


def index(file: IO[bytes], tree: Tree) -> int:
    """Put what stands after `MAGIC` into the tree; a file's place is `(start, size)`.

    Returns:
        Where the trailer begins.

    Raises:
        Unavailable: it is no whole archive.
    """
    at = file.seek(len(MAGIC))
    while True:
        if file.read(2) == b"e\n":
            return at + 1
        file.seek(at)
        kind, _, path = _text(file).partition(b" ")
        if kind in (b"f", b"x"):
            size = file.readline(64).strip()
            if not size.isdigit():
                raise Unavailable("the job's outputs arrived damaged")
            place = (file.tell(), int(size))
            file.seek(place[0] + place[1])
            mode = 0o755 if kind == b"x" else 0o644
            node = Node(Kind.FILE, size=place[1], mode=mode, place=place)
        elif kind == b"l":
            node = Node(Kind.LINK, target=_text(file))
        else:
            node = _OTHER.get(kind, Node(Kind.ODD))
        if b".." not in path.split(b"/") and path.startswith(b"/"):
            tree.put(path, node)
        at = file.tell()


def _text(file: IO[bytes]) -> bytes:
    """Up to `//` at the end of a line; it may have several."""
    text = b""
    while not text.endswith(b"//\n"):
        line = file.readline(_MAX_LINE)
        text += line
        if not line or len(text) > _MAX_LINE:
            raise Unavailable("the job's outputs arrived damaged")
    return text[:-3]
