"""Getting things out of a container: its log and its result files."""

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path, PurePosixPath

import httpx

from cortex.domain.leases import LeaseRef
from providers.base import LogLine
from providers.docker.config import DockerConfig
from providers.docker.containers import Containers
from providers.docker.engine import EngineRefused, segment
from providers.docker.follow import Bell
from providers.docker.frames import Cursor, LogDecoder
from providers.docker.marks import Marks
from providers.docker.starts import gone
from providers.errors import Unavailable
from providers.unpack import Budget, unpack

_PAUSE = 0.3
# Lines in one reading from which on a job counts as writing without pause.
_FLOOD = 200
_MOST_LINKS = 4
_NO_FILE = ("too many levels", "no such file", "not a directory")
_GO_SYMLINK = 1 << 27
# What tar adds to the files' own bytes; checked exactly when unpacking.
_TAR_SLACK = 64 * 2**20
_READ_TIMEOUT = 120.0


class Collector:
    """Reads logs and outputs."""

    def __init__(self, containers: Containers, marks: Marks, config: DockerConfig) -> None:
        self._containers = containers
        self._marks = marks
        self._config = config

    async def logs(self, ref: LeaseRef, since: str | None, follow: bool) -> AsyncIterator[LogLine]:
        """Lines after the cursor; with `follow` until the job has ended, across lost connections.

        A stream that ends says nothing about the job, so the container's state decides, and after
        its end the rest is read once more.
        """
        stream = follow and not self._containers.engine.is_podman
        async with Bell(self._containers.engine, ref.network_id) as bell:
            while True:
                over = await self._is_over(ref)
                if over is None:
                    return
                if follow and not over and not stream:
                    bell.looking()
                async for line in self._pass(ref, since, over=over, stream=stream, bell=bell):
                    since = since if line.partial else line.cursor
                    yield line
                if over or not follow:
                    return
                if stream:
                    await asyncio.sleep(_PAUSE)
                else:
                    await bell.wait()

    async def first_line(self, container_id: str) -> str:
        """The first line of an ended container's log; nothing if there is none."""
        lines = self._request(container_id, LogDecoder(Cursor()), {})
        async with aclosing(lines):
            async for line in lines:
                return line.text
        return ""

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        """Copy the declared paths out; see the contract."""
        box = await self._containers.inspect(ref.network_id)
        if box is None:
            raise gone(ref)
        await asyncio.to_thread(destination.mkdir, parents=True, exist_ok=True)
        budget = Budget(self._config.max_output_bytes)
        written: dict[Path, None] = {}
        with tempfile.TemporaryDirectory(prefix="cortex-outputs-") as folder:
            for declared in paths:
                if ".." in PurePosixPath(declared).parts:
                    continue
                archive = Path(folder) / "one.tar"
                inside = PurePosixPath(box.config.working_dir or "/") / declared
                if await self._fetch(box.id, str(inside), archive, budget):
                    files = await asyncio.to_thread(unpack, archive, destination, declared, budget)
                    written.update(dict.fromkeys(files))
        return list(written)

    async def _is_over(self, ref: LeaseRef) -> bool | None:
        """Whether nothing more will be written; None if the container is gone."""
        box = await self._containers.inspect(ref.network_id)
        if box is None:
            return None
        if box.state.ended:
            return True
        if not box.state.waiting:
            return False
        return box.state.ran or await self._marks.end(ref.key) is not None

    async def _pass(
        self, ref: LeaseRef, since: str | None, *, over: bool, stream: bool, bell: Bell
    ) -> AsyncIterator[LogLine]:
        """One request for all that is there after the cursor, or for a stream."""
        decoder = LogDecoder(Cursor.parse(since))
        last: LogLine | None = None
        count = 0
        async for line in self._read(ref, decoder, follow=stream and not over):
            if stream:
                yield line
                continue
            if last is not None:
                yield last
            last, count = line, count + 1
        if last is not None:
            if over or count < _FLOOD:
                yield last
            else:
                # The engine may have read it while it was being written. It comes next time.
                bell.ring()
                return
        for line in decoder.flush() if over else decoder.partials():
            yield line

    async def _read(
        self, ref: LeaseRef, decoder: LogDecoder, *, follow: bool
    ) -> AsyncIterator[LogLine]:
        params = {"since": str(decoder.cursor.since), "follow": "1" if follow else "0"}
        try:
            async for line in self._request(ref.network_id, decoder, params):
                yield line
        except EngineRefused as refused:
            if not refused.missing and refused.status != 409:
                raise
        except Unavailable:
            # A broken stream is taken up again where it broke; an engine that is away is told
            # by the next call.
            if not follow:
                raise

    async def _request(
        self, container_id: str, decoder: LogDecoder, params: dict[str, str]
    ) -> AsyncGenerator[LogLine, None]:
        async with self._containers.engine.stream(
            "GET",
            f"/containers/{segment(container_id)}/logs",
            params={"stdout": "1", "stderr": "1", "timestamps": "1", **params},
            read_timeout=None if params.get("follow") == "1" else _READ_TIMEOUT,
        ) as answer:
            async for chunk in answer.aiter_raw():
                for line in decoder.feed(chunk):
                    yield line

    async def _fetch(self, container_id: str, path: str, archive: Path, budget: Budget) -> bool:
        """Write the engine's tar of a path; False if the path does not exist."""
        for _ in range(_MOST_LINKS):
            try:
                link = await self._fetch_once(container_id, path, archive, budget)
            except EngineRefused as refused:
                if refused.missing or any(word in refused.message for word in _NO_FILE):
                    return False
                raise
            if link is None:
                return True
            path = link
        return False

    async def _fetch_once(
        self, container_id: str, path: str, archive: Path, budget: Budget
    ) -> str | None:
        """The path that it links to inside the container, or None when the tar was written."""
        async with self._containers.engine.stream(
            "GET",
            f"/containers/{segment(container_id)}/archive",
            params={"path": path},
            read_timeout=_READ_TIMEOUT,
        ) as answer:
            link = _link_target(answer)
            if link is not None and link != path:
                return link
            size = 0
            with archive.open("wb") as file:
                async for chunk in answer.aiter_raw():
                    size += len(chunk)
                    if size > budget.left + _TAR_SLACK:
                        budget.spend(size)
                    await asyncio.to_thread(file.write, chunk)
        return None


def _link_target(answer: httpx.Response) -> str | None:
    """Where the path leads if it is a link; the engine has resolved it inside the container."""
    try:
        stat = json.loads(base64.b64decode(answer.headers.get("x-docker-container-path-stat", "")))
        is_link = bool(int(stat.get("mode", 0)) & _GO_SYMLINK)
        return str(stat["linkTarget"]) if is_link and stat.get("linkTarget") else None
    except (ValueError, KeyError, AttributeError):
        return None
