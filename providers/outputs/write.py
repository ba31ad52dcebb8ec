"""Writes the chosen files below a folder of this machine, under printable names."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from providers.collected import NOTHING_MATCHED, Collected, LeftOut
from providers.outputs.choose import MAX_PATH, TOO_LONG, Choice
from providers.outputs.names import distinct
from providers.outputs.tree import Kind, Node

_BLOCK = 1 << 20
_HOLE = bytes(_BLOCK)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)

Opened = Callable[[Node], IO[bytes] | None]
"""Opens the content of a file; None where it is gone."""


def write(
    choice: Choice,
    destination: Path,
    limit: int,
    opened: Opened,
    order: Callable[[Node], int] = lambda _: 0,
    *,
    limited: str = "this provider copies (`max_output_bytes`)",
    room: Callable[[int], str] = lambda _: "",
) -> Collected:
    """Write what was chosen. Blocking, so run it in a thread.

    Args:
        choice: What `choose` decided.
        destination: The folder below which everything is written; links there are replaced.
        limit: Bytes that may be written; a file that does not fit is left out.
        opened: Opens the content of a node. An OSError of it leaves the file out.
        order: The cheapest order of reading.
        limited: What the limit's bytes are, and where it is set.
        room: Why so many bytes do not fit on the disk; empty if they do.

    Raises:
        OSError: the disk is full, or may not be written.
    """
    names = _names([*choice.kept, *choice.left_out])
    destination.mkdir(parents=True, exist_ok=True)
    writer = _Writer(destination, limit, opened, limited, room)
    written: dict[Kind, list[bytes]] = {Kind.FILE: [], Kind.FOLDER: []}
    left = dict(choice.left_out)
    for path, node in sorted(choice.kept.items(), key=lambda kept: (order(kept[1]), kept[0])):
        why_not = writer.put(names[path], node) if _fits(names[path]) else TOO_LONG
        if why_not:
            left[path] = why_not
        else:
            written[node.kind].append(path)
    notes = [
        LeftOut(_short(names[path]), reason, _raw(names[path], path))
        for path, reason in sorted(left.items())
    ]
    files = [*written[Kind.FILE], *written[Kind.FOLDER]]
    return Collected(
        sorted(Path(names[path]) for path in written[Kind.FILE]),
        folders=sorted(Path(names[path]) for path in written[Kind.FOLDER]),
        raw={Path(names[path]): path for path in files if _raw(names[path], path) is not None},
        left_out=[*notes, *(LeftOut(text, NOTHING_MATCHED) for text in choice.unmatched)],
    )


def _fits(name: str) -> bool:
    return len(name.encode()) <= MAX_PATH


def _short(name: str) -> str:
    """A path that is only named: its beginning, and a digest, where it is too long for a key."""
    if _fits(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name.encode()[: MAX_PATH // 2].decode(errors='ignore')}…~{digest[:16]}"


def _raw(name: str, path: bytes) -> bytes | None:
    return None if name.encode() == path else path


def _names(paths: Iterable[bytes]) -> dict[bytes, str]:
    """The printable form of each path; the parts of each folder are distinct."""
    below: dict[bytes, set[bytes]] = {}
    for path in paths:
        at = path
        while at:
            above, _, name = at.rpartition(b"/")
            names = below.setdefault(above, set())
            if name in names:
                break
            names.add(name)
            at = above
    forms: dict[bytes, str] = {b"": ""}
    for folder in sorted(below, key=lambda path: path.count(b"/") if path else -1):
        start = forms[folder] + "/" if folder else ""
        prefix = folder + b"/" if folder else b""
        for name, form in distinct(below[folder]).items():
            forms[prefix + name] = start + form
    return forms


class _Writer:
    def __init__(
        self,
        destination: Path,
        limit: int,
        opened: Opened,
        limited: str,
        room: Callable[[int], str],
    ) -> None:
        self._destination = destination
        self._limit_text = f"{limit} bytes that {limited}"
        self._no_room = room
        self._left = limit
        self._opened = opened
        self._there: dict[Node, Path] = {}
        self._folders: dict[str, Path] = {}

    def put(self, name: str, node: Node) -> str:
        """Write a file, or make a folder; why it could not be done, else nothing."""
        try:
            if node.kind is Kind.FOLDER:
                self._folder(name)
                return ""
            return self._file(name, node)
        except OSError as error:
            if error.errno in _DISK_TROUBLE:
                raise
            return f"cannot be kept: {error.strerror or type(error).__name__}"

    def _folder(self, name: str) -> Path:
        known = self._folders.get(name)
        if known is None:
            known = make_folder(self._destination, PurePosixPath(name))
            self._folders[name] = known
        return known

    def _file(self, name: str, node: Node) -> str:
        above, _, last = name.rpartition("/")
        first = self._there.get(node)
        if first is not None:
            os.link(first, _room(self._folder(above) / last))
            return ""
        if node.size > self._left:
            return f"has {node.size} bytes; that is more than is left of the {self._limit_text}"
        no_room = self._no_room(node.size)
        if no_room:
            return no_room
        source = self._opened(node)
        if source is None:
            return "was gone before it could be read"
        target = _room(self._folder(above) / last)
        descriptor = os.open(target, _NEW, 0o600)
        with source, os.fdopen(descriptor, "wb") as out:
            os.fchmod(descriptor, 0o600 | node.mode & 0o755)
            self._left -= _copy(source, out, node.size)
        self._there[node] = target
        return ""


def _copy(source: IO[bytes], out: IO[bytes], size: int) -> int:
    """Copy at most `size` bytes; what is empty there takes no disk here."""
    done = 0
    while done < size and (block := source.read(min(_BLOCK, size - done))):
        done += len(block)
        if block == _HOLE[: len(block)]:
            out.seek(done)
        else:
            out.write(block)
    out.truncate(done)
    return done


def make_folder(destination: Path, relative: PurePosixPath) -> Path:
    """Make the folders one by one, replacing whatever else stands there (links above all)."""
    path = destination
    path.mkdir(parents=True, exist_ok=True)
    for part in relative.parts:
        path = path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        path.mkdir(exist_ok=True)
    return path


def make_file(destination: Path, relative: PurePosixPath, mode: int) -> Path:
    """Make a file with no more rights than are harmless, instead of what stands there."""
    path = _room(make_folder(destination, relative.parent) / relative.name)
    path.touch(mode=0o600)
    path.chmod(0o600 | mode & 0o755)
    return path


def _room(path: Path) -> Path:
    try:
        path.unlink()
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(path)
    return path
