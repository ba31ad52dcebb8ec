"""Getting a log out of a container."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from cortex.domain.leases import LeaseRef
from providers.base import LogLine
from providers.docker.config import DockerConfig
from providers.docker.containers import Containers
from providers.docker.engine import EngineRefused, segment
from providers.docker.follow import Bell
from providers.docker.frames import Cursor, LogDecoder
from providers.docker.marks import Marks
from providers.errors import Unavailable

_PAUSE = 0.3
# Lines in one reading from which on a job counts as writing without pause.
_FLOOD = 200
_READ_TIMEOUT = 120.0


class Collector:
    """Reads logs."""

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
