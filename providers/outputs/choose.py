"""Which files are kept: the declared outputs over the tree of a job's files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cortex.domain.patterns import ANY_FOLDERS, MAGIC, OutputPattern, fits
from providers.outputs.tree import AnyTree, Kind, Node

MAX_CHOSEN = 100_000
MAX_LEFT_OUT = 10_000
MAX_DEPTH = 300
MAX_PATH = 2000
"""Bytes of a path that is kept: it is a key in the database."""
TOO_LONG = f"has a path of over {MAX_PATH:,} bytes"
_MAX_LINKS = 40
# In a working folder that is the root, links do not lead to what is no file of the job.
_SYSTEM = (b"/etc", b"/proc", b"/sys", b"/dev", b"/run")
_LEADS_OUT = "is a link that leads out of the working folder"
_NOWHERE = "is a link to nothing"
_IN_CIRCLES = "is a link that leads in circles"


@dataclass
class Choice:
    """What is kept, files and empty folders, and what is not, with its reason.

    By path: of what lies in the working folder, relative to it, else from the root without its
    slash. Its bytes, as the job gave them.
    """

    kept: dict[bytes, Node] = field(default_factory=dict)
    left_out: dict[bytes, str] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)


def choose(tree: AnyTree, root: bytes, declared: Sequence[str]) -> Choice:
    """Decide over each declared path and pattern.

    Args:
        tree: The job's files.
        root: The working folder, absolute, without a slash at its end.
        declared: As in the job's spec. One that leads out of `root` by `..` is passed over.
    """
    chooser = _Chooser(tree, root)
    for text in declared:
        pattern = OutputPattern(text)
        if pattern.safe and not chooser.declared(pattern) and text not in chooser.choice.unmatched:
            chooser.choice.unmatched.append(text)
    return chooser.choice


@dataclass(frozen=True)
class _Found:
    """Where a path leads: the node and its true path, or why it is not there."""

    path: bytes = b""
    node: Node | None = None
    why_not: str = ""


class _Chooser:
    def __init__(self, tree: AnyTree, root: bytes) -> None:
        self._tree = tree
        self._root = root
        self._roots = [root]
        self._full = False
        self.choice = Choice()

    def declared(self, pattern: OutputPattern) -> bool:
        """Take what it matches; False if that is nothing."""
        base = self._root
        name = pattern.literal
        if pattern.absolute:
            base = b""
            below = name.removeprefix(self._root + b"/") if self._root else name
            if below != name:
                base = self._root
            else:
                tree = _tree_of(pattern)
                self._roots.append(self._lead(tree) or tree)
        matched = self._take(base, name.removeprefix(self._root) if base else name)
        for path in sorted(set(self._matches(base, pattern))):
            matched = self._take(base, path) or matched
        return matched

    def _take(self, base: bytes, path: bytes) -> bool:
        """Take a path below `base`; False if nothing is there."""
        path = path.lstrip(b"/")
        above, _, name = path.rpartition(b"/")
        place = self._lead(base + b"/" + above)
        if place is None:
            return False
        real = place + b"/" + name
        if not self._within(real):
            if place != base + b"/" + above:
                self._leave(path, "lies behind a link that leads out of the working folder")
            return place != base + b"/" + above
        node = self._tree.node(real)
        if node is None:
            return False
        self._enter(path, real, node, ())
        return True

    def _enter(self, path: bytes, real: bytes, node: Node, above: tuple[bytes, ...]) -> bool:
        """Keep a node under a path, with all below; whether anything of it is kept."""
        if self._full:
            return False
        if node.kind is Kind.LINK:
            followed = self.follow(real)
            if (
                followed.node is None
                or followed.path in above
                or (followed.node.kind is Kind.FOLDER and real.startswith(followed.path + b"/"))
            ):
                return self._leave(path, followed.why_not or _IN_CIRCLES)
            real, node = followed.path, followed.node
        if node.kind is Kind.FOLDER:
            if len(path) > MAX_PATH:
                return self._leave(path, TOO_LONG)
            if len(above) >= MAX_DEPTH:
                return self._leave(path, f"lies more than {MAX_DEPTH} folders deep")
            names = self._tree.children(real)
            kept = [
                self._enter(path + b"/" + name, real + b"/" + name, child, (*above, real))
                for name in names
                if (child := self._tree.node(real + b"/" + name)) is not None
            ]
            return any(kept) or self._keep(path, node)
        if node.kind is Kind.FILE:
            return self._keep(path, node)
        if node.kind is Kind.UNREADABLE:
            return self._leave(path, "may not be read by the job's user")
        return self._leave(path, f"is {node.kind}")

    def _keep(self, path: bytes, node: Node) -> bool:
        known = self.choice.kept.get(path)
        if known is not None:
            return known is node or self._leave(path, "has the same name as another file")
        if len(path) > MAX_PATH:
            return self._leave(path, TOO_LONG)
        if len(self.choice.kept) >= MAX_CHOSEN:
            self._full = True
            return self._leave(path, f"is one of over {MAX_CHOSEN:,} files; pack them into one")
        self.choice.kept[path] = node
        return True

    def _leave(self, path: bytes, reason: str) -> Literal[False]:
        if len(self.choice.left_out) < MAX_LEFT_OUT:
            self.choice.left_out[path] = reason
        else:
            self._full = True
        return False

    def follow(self, path: bytes) -> _Found:
        """The node to which a path leads through all links, if it is in the job's folders."""
        at = self._lead(path)
        if at is None:
            return _Found(why_not=_IN_CIRCLES)
        if not self._within(at):
            return _Found(why_not=_LEADS_OUT)
        node = self._tree.node(at)
        return _Found(at, node) if node is not None else _Found(why_not=_NOWHERE)

    def _lead(self, path: bytes) -> bytes | None:
        """The path without links, as far as they are known; None if they lead in circles."""
        links = 0
        todo, at = path.split(b"/"), b""
        while todo:
            part = todo.pop(0)
            if part in (b"", b"."):
                continue
            if part == b"..":
                at = at.rpartition(b"/")[0]
                continue
            node = self._tree.node(at + b"/" + part)
            if node is not None and node.kind is Kind.LINK:
                links += 1
                if links > _MAX_LINKS:
                    return None
                at = b"" if node.target.startswith(b"/") else at
                todo = node.target.split(b"/") + todo
            else:
                at += b"/" + part
        return at

    def _within(self, path: bytes) -> bool:
        for root in self._roots:
            if root == b"" and any(path == top or path.startswith(top + b"/") for top in _SYSTEM):
                continue  # unless it was declared from the root by itself
            if path == root or path.startswith(root + b"/"):
                return True
        return False

    def _matches(self, base: bytes, pattern: OutputPattern) -> Iterator[bytes]:
        parts = pattern.parts
        if not parts:
            return
        if pattern.absolute and base:
            skipped = self._root.count(b"/")
            parts = parts[skipped:]
        yield from self._below(base, b"", parts)

    def _below(self, base: bytes, folder: bytes, parts: tuple[bytes, ...]) -> Iterator[bytes]:
        """Paths below `base` that match, looked for in `folder`."""
        followed = self.follow(base + folder)
        deep = folder.count(b"/") > MAX_DEPTH
        if followed.node is None or followed.node.kind is not Kind.FOLDER or deep:
            return
        first, rest = parts[0], parts[1:]
        if not MAGIC.search(first):  # a plain name needs no list
            if rest:
                yield from self._below(base, folder + b"/" + first, rest)
            elif self._tree.node(followed.path + b"/" + first) is not None:
                yield (folder + b"/" + first).lstrip(b"/")
            return
        names = self._tree.children(followed.path)
        if first == ANY_FOLDERS:
            yield from self._below(base, folder, rest)
            for name in names:
                node = self._tree.node(followed.path + b"/" + name)
                if node is not None and node.kind is Kind.FOLDER and not name.startswith(b"."):
                    yield from self._below(base, folder + b"/" + name, parts)
            return
        for name in names:
            if fits(name, first):
                if rest:
                    yield from self._below(base, folder + b"/" + name, rest)
                else:
                    yield (folder + b"/" + name).lstrip(b"/")


def _tree_of(pattern: OutputPattern) -> bytes:
    """How far links may lead below a path from the root: in the folder in which it stands, or
    where that is the root, in itself; of a pattern, in the folder where it begins.
    """
    if pattern.parts:
        return b"/" + pattern.fixed if pattern.fixed else b""
    return pattern.literal.rpartition(b"/")[0] or pattern.literal
