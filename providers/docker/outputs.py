"""Result files of a container, which may have stopped: nothing can be run in it any more.

So the engine is asked, as `choose` asks for them: what a path is (`HEAD .../archive`), and the tar
of a file or folder (`GET .../archive`).
"""

import asyncio
import base64
import contextlib
import json
import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cortex.domain.leases import LeaseRef
from providers.collected import Collected
from providers.docker.config import DockerConfig
from providers.docker.containers import Containers
from providers.docker.engine import EngineRefused, segment
from providers.docker.marks import Marks
from providers.docker.snapshots import needs_end
from providers.docker.starts import gone
from providers.docker.storage import allowed_after
from providers.errors import InvalidSpec, Unavailable
from providers.outputs import Choice, Kind, Node, Tree, choose
from providers.outputs.archive import index
from providers.outputs.tree import FOLDER
from providers.outputs.write import write

_STAT = "x-docker-container-path-stat"
_CIRCLES = "too many levels"
_NO_FILE = (_CIRCLES, "no such file", "not a directory", "could not be found")
# The kinds of Go's `os.FileMode`, by bit.
_MODES = {31: Kind.FOLDER, 27: Kind.LINK, 26: Kind.DEVICE, 25: Kind.FIFO, 24: Kind.SOCKET}
# What tar adds to the files' own bytes.
_TAR_SLACK = 64 * 2**20
_READ_TIMEOUT = 120.0
_MAGIC = re.compile(rb"[*?\[\\]")
_ROUNDS = 100
_DELETED = 2
_COPIED = "this provider copies (`max_output_bytes`)"
_ALLOWED = "the job may keep (`resources.storage`)"


@dataclass
class EngineTree:
    """What is known so far of a container's files, and what was asked for and is not."""

    podman: bool = False
    """It takes a path for a pattern: a name that is one is looked up in the list of its folder."""
    limit: int = 2**63
    """Bytes; a larger file is left out anyway, so it is not read."""
    known: Tree = field(default_factory=Tree)
    asked: dict[bytes, Node | None] = field(default_factory=dict)
    whole: list[bytes] = field(default_factory=list)
    unasked: set[bytes] = field(default_factory=set)
    unread: set[bytes] = field(default_factory=set)
    top: list[bytes] | None = None
    _paths: dict[Node, bytes] = field(default_factory=dict)

    def node(self, path: bytes) -> Node | None:
        if not path:
            return FOLDER
        if self._covered(path):
            return self.known.node(path)
        if path in self.asked:
            return self.asked[path]
        above, _, name = path.rpartition(b"/")
        if self.podman and _MAGIC.search(name):
            if above or self.top is None:
                self.unread.add(above)
        else:
            self.unasked.add(path)
        return None

    def children(self, path: bytes) -> list[bytes]:
        if self._covered(path):
            return self.known.children(path)
        if path == b"" and self.top is not None:
            return self.top
        self.unread.add(path)
        return []

    def learn(self, path: bytes, node: Node | None) -> None:
        self.asked[path] = node
        if node is not None:
            self._paths[node] = path

    def missing(self, choice: Choice) -> bool:
        """Whether the choice waits for something; chosen files are to be read if they may fit."""
        for node in choice.kept.values():
            if node.kind is Kind.FILE and node.place is None and node.size <= self.limit:
                self.unread.add(self._paths[node])
        return bool(self.unasked or self.unread)

    def _covered(self, path: bytes) -> bool:
        return any(path == top or path.startswith(top + b"/") for top in self.whole)


class OutputReader:
    """Copies result files out of containers."""

    def __init__(self, containers: Containers, marks: Marks, config: DockerConfig) -> None:
        self._containers = containers
        self._marks = marks
        self._config = config

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        """Copy the declared paths out; see the contract."""
        box = await self._containers.inspect(ref.network_id)
        if box is None:
            raise gone(ref)
        root = (box.config.working_dir or "/").rstrip("/").encode()
        end = await self._marks.end(ref.key) if needs_end(box) else None
        limit, limited = self._config.max_output_bytes, _COPIED
        allowed = allowed_after(end, box.labels)
        if allowed is not None and allowed < limit:
            limit, limited = allowed, _ALLOWED
        with tempfile.TemporaryDirectory(prefix="cortex-outputs-") as folder:
            reading = _Reading(self._containers, self._config, box.id, Path(folder), limit)
            try:
                choice = await reading.chosen(root, paths)
                return await asyncio.to_thread(
                    write,
                    choice,
                    destination,
                    limit,
                    reading.open,
                    reading.order,
                    limited=limited,
                )
            except (tarfile.TarError, EOFError) as error:
                raise Unavailable("the job's outputs arrived damaged") from error
            finally:
                reading.close()


class _Reading:
    """One collecting of one container."""

    def __init__(
        self,
        containers: Containers,
        config: DockerConfig,
        container_id: str,
        folder: Path,
        limit: int,
    ) -> None:
        self._engine = containers.engine
        self._config = config
        self._url = f"/containers/{segment(container_id)}"
        self._folder = folder
        self._tree = EngineTree(podman=containers.engine.is_podman, limit=limit)
        self._tars: list[tarfile.TarFile] = []
        self._bytes = 0

    async def chosen(self, root: bytes, paths: Sequence[str]) -> Choice:
        """Ask until all is known that decides."""
        changed = await self._changed()
        for _ in range(_ROUNDS):
            choice = await asyncio.to_thread(choose, self._tree, root, paths)
            if not self._tree.missing(choice):
                return choice
            for path in sorted(self._tree.unasked):
                self._tree.learn(path, await self._stat(path))
            for path in sorted(self._tree.unread - self._tree.unasked):
                if path:
                    await self._fetch(path)
                    await self._sockets(path, changed)
                else:  # the whole container is no result: what the job has added to it is
                    self._tree.top = sorted({name.split(b"/")[1] for name in changed})
            self._tree.unasked.clear()
            self._tree.unread.clear()
        raise Unavailable("the job's outputs have too many links that lead from one to another")

    def open(self, node: Node) -> IO[bytes] | None:
        number, member = node.place
        content: IO[bytes] | None = self._tars[number].extractfile(member)
        return content

    def order(self, node: Node) -> int:
        return 0 if node.place is None else int(node.place[0] << 60) + int(node.place[1].offset)

    def close(self) -> None:
        for tar in self._tars:
            tar.close()

    async def _stat(self, path: bytes) -> Node | None:
        try:
            answer = await self._engine.call("HEAD", f"{self._url}/archive", params=_at(path))
        except EngineRefused as refused:
            if refused.missing:
                return None
            return await self._refused(path)
        return _node(answer.headers.get(_STAT, ""))

    async def _refused(self, path: bytes) -> Node | None:
        """What a path is that the engine cannot say: the answer to `HEAD` has no text."""
        url = f"{self._url}/archive"
        try:
            async with self._engine.stream(
                "GET", url, params=_at(path), read_timeout=_READ_TIMEOUT
            ) as answer:
                return _node(answer.headers.get(_STAT, ""))
        except EngineRefused as refused:
            if _CIRCLES in refused.message:
                return Node(Kind.LINK, target=path)
            if refused.missing or any(word in refused.message for word in _NO_FILE):
                return None
            raise

    async def _fetch(self, path: bytes) -> None:
        """Take the engine's tar of a file or folder into the tree."""
        archive = self._folder / f"{len(self._tars)}.tar"
        limit = self._config.max_output_bytes
        try:
            async with self._engine.stream(
                "GET", f"{self._url}/archive", params=_at(path), read_timeout=_READ_TIMEOUT
            ) as answer:
                with archive.open("wb") as file:
                    async for chunk in answer.aiter_raw(1 << 20):
                        self._bytes += len(chunk)
                        if self._bytes > limit + _TAR_SLACK:
                            raise InvalidSpec(
                                f"the outputs are larger than the {limit} bytes that this "
                                "provider copies (`max_output_bytes`)"
                            )
                        await asyncio.to_thread(file.write, chunk)
        except EngineRefused as refused:
            if not refused.missing and not any(word in refused.message for word in _NO_FILE):
                raise
        else:
            await asyncio.to_thread(self._indexed, archive, path)
        self._tree.whole.append(path)

    def _indexed(self, archive: Path, path: bytes) -> None:
        tar = tarfile.open(archive, "r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        self._tars.append(tar)
        number = len(self._tars) - 1
        index(tar, self._tree.known, lambda name: _below(path, name), lambda at: (number, at))

    async def _changed(self) -> list[bytes]:
        """The paths that the container has and its image has not; none if the engine cannot say."""
        with contextlib.suppress(EngineRefused, ValueError):
            answer = await self._engine.call("GET", f"{self._url}/changes")
            return [
                str(change["Path"]).encode("utf-8", "surrogateescape")
                for change in answer.json() or []
                if change.get("Kind") != _DELETED and str(change["Path"]).startswith("/")
            ]
        return []

    async def _sockets(self, top: bytes, changed: Sequence[bytes]) -> None:
        """Find those below a folder: an engine's tar has none, nor says so."""
        for path in changed:
            if path.startswith(top + b"/") and self._tree.known.node(path) is None:
                node = await self._stat(path)
                if node is not None and node.kind is Kind.SOCKET:
                    self._tree.known.put(path, node)


def _at(path: bytes) -> Mapping[str, str]:
    return {"path": path.decode("utf-8", "surrogateescape") or "/"}


def _below(path: bytes, name: str) -> str:
    """The absolute path of a member: the first part of its name stands for the path asked for.

    It may be empty: so Podman names the files of a volume's own folder.
    """
    return path.decode("utf-8", "surrogateescape") + "/" + name.partition("/")[2]


def _node(stat: str) -> Node | None:
    """A node without its content, from the header that describes a path."""
    try:
        facts: dict[str, Any] = json.loads(base64.b64decode(stat))
        mode = int(facts.get("mode", 0))
        target = str(facts.get("linkTarget") or "").encode("utf-8", "surrogateescape")
        size = int(facts.get("size", 0))
    except (ValueError, AttributeError):
        return None
    kind = next((kind for bit, kind in _MODES.items() if mode >> bit & 1), Kind.FILE)
    return Node(kind, target=target, size=size)
