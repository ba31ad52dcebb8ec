"""What is known of a job's files, by absolute path, from whatever tells of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

MAX_NODES = 200_000
"""More files than that are not looked at; each costs memory here."""


class Kind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    FIFO = "a named pipe"
    DEVICE = "a device"
    SOCKET = "a socket"
    UNREADABLE = "unreadable"
    ODD = "neither file nor folder"


@dataclass(frozen=True, eq=False)
class Node:
    """One file. Two hard links of a file are one node under two paths."""

    kind: Kind
    target: bytes = b""
    size: int = 0
    mode: int = 0o644
    place: Any = None
    """Where its content is, for whoever made the tree."""


FOLDER = Node(Kind.FOLDER)


class AnyTree(Protocol):
    """What `choose` asks."""

    def node(self, path: bytes) -> Node | None:
        """What lies there; None for nothing. A link is not followed."""

    def children(self, path: bytes) -> list[bytes]:
        """The names in a folder, sorted."""


class Tree:
    """Nodes that were put in one by one, in any order; folders above them come by themselves."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, Node] = {b"": FOLDER}
        self._below: dict[bytes, dict[bytes, None]] = {}
        self.full = False
        """Whether there was more than `MAX_NODES`."""

    def put(self, path: bytes, node: Node) -> None:
        """Put a node at an absolute path without `.` and `..`, in place of one that was there."""
        path = path.rstrip(b"/")
        known = self._nodes.get(path)
        if known is not None and node.kind is Kind.FOLDER and known.kind is Kind.FOLDER:
            return
        if known is None and len(self._nodes) >= MAX_NODES:
            self.full = True
            return
        self._nodes[path] = node
        while path:
            above, _, name = path.rpartition(b"/")
            names = self._below.setdefault(above, {})
            if name in names:
                return
            names[name] = None
            self._nodes.setdefault(above, FOLDER)
            path = above

    def node(self, path: bytes) -> Node | None:
        return self._nodes.get(path)

    def children(self, path: bytes) -> list[bytes]:
        return sorted(self._below.get(path, ()))

    def __iter__(self) -> Iterator[tuple[bytes, Node]]:
        return iter(self._nodes.items())
