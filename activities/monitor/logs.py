"""Copies the output of jobs into the database, while they run and once more at the end."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from decimal import Decimal

from cortex.db.engine import Database
from cortex.db.jobs.logs import NewLine
from cortex.domain.events import EventType
from cortex.domain.leases import Lease, LeaseRef
from cortex.settings import LogSettings
from cortex.tasks import end_tasks
from providers.base import LogLine
from providers.registry import AnyProvider

# `::progress 42% loading` on a line of its own tells how far the job is.
_PROGRESS = re.compile(r"::progress (\d{1,3}(?:\.\d+)?)%?(?: (.*))?")
_BATCH_BYTES = 256 * 1024
_BATCH_SECONDS = 0.3
_PROGRESS_SECONDS = 1.0
_CATCH_UP_SECONDS = 120
_LOOKS_ON = 40.0
"""Seconds: more than there is between two notices of a stream in which nothing happens."""


class Audience:
    """Whether somebody looks at a log: until so long after a notice that the next would have come.

    `looks` is set by each notice, and when the connection was lost. At first somebody does: who
    submits a job mostly looks on, and said so before there was a lease.
    """

    def __init__(self, looks: asyncio.Event) -> None:
        self._looks = looks
        self._until = time.monotonic() + _LOOKS_ON

    def __call__(self) -> bool:
        now = time.monotonic()
        if self._looks.is_set():
            self._looks.clear()
            self._until = now + _LOOKS_ON
        return now < self._until


class LogCopier:
    """Appends a lease's log lines to its job's output, from where the last copier stopped.

    Several copiers may run at once (a worker that was thought dead, the settlement): the cursor
    in the lease row moves together with the lines, so each line is stored once.
    """

    def __init__(self, database: Database, settings: LogSettings) -> None:
        self._database = database
        self._limit = settings.max_bytes
        self._last_progress: dict[str, float] = {}

    async def follow(self, provider: AnyProvider, key: str, ref: LeaseRef) -> None:
        """Copy until the job has ended, or another copier takes over."""
        await self._copy(provider, key, ref, follow=True)

    async def catch_up(self, provider: AnyProvider, key: str, ref: LeaseRef) -> None:
        """Copy what is there now; at most two minutes."""
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                # Again if another copier was faster: then it goes on from its place.
                complete = False
                while not complete:
                    complete = await self._copy(provider, key, ref, follow=False)
        except TimeoutError:
            return
        finally:
            self._last_progress.pop(key, None)

    async def _copy(self, provider: AnyProvider, key: str, ref: LeaseRef, *, follow: bool) -> bool:
        async with self._database.transaction() as tx:
            lease = await tx.leases.get(key)
        cursor = lease.log_cursor
        begun: dict[str, NewLine] = {}
        known: list[NewLine] | None = None
        async with (
            aclosing(_stream(provider, ref, cursor, follow=follow)) as lines,
            aclosing(_batches(lines)) as batches,
        ):
            async for batch in batches:
                whole = [line for line in batch if not line.partial]
                _begin(begun, batch)
                if not whole and known == list(begun.values()):
                    continue
                changed = None if known == list(begun.values()) else list(begun.values())
                known = list(begun.values())
                if not await self._store(lease, cursor, whole, changed):
                    return False
                cursor = whole[-1].cursor if whole else cursor
        return True

    async def _store(
        self, lease: Lease, cursor: str | None, batch: list[LogLine], begun: list[NewLine] | None
    ) -> bool:
        job_id = lease.job_id
        progress = self._progress(lease.key, batch)
        async with self._database.transaction() as tx:
            # Always: the steps write job and lease rows in an order of their own.
            await tx.jobs.lock(job_id)
            stored = await tx.logs.append(
                job_id,
                lease.attempt,
                [_new(line) for line in batch],
                limit=self._limit,
                lease_key=lease.key,
                cursor=(cursor, batch[-1].cursor if batch else cursor),
                begun=begun,
            )
            told = stored and progress is not None
            if told and not (await tx.jobs.get(job_id)).state.terminal and progress is not None:
                share, message = progress
                await tx.jobs.set_progress(job_id, share)
                data = {"progress": str(share), "message": message}
                await tx.events.add(EventType.JOB_PROGRESS, job_id, job_id=job_id, data=data)
        return stored

    def _progress(self, key: str, batch: list[LogLine]) -> tuple[Decimal, str] | None:
        for line in reversed(batch):
            match = _PROGRESS.fullmatch(line.text.strip()) if "::progress" in line.text else None
            if match is not None and Decimal(match[1]) <= 100:
                now = time.monotonic()
                done = Decimal(match[1]) == 100
                if not done and now - self._last_progress.get(key, 0.0) < _PROGRESS_SECONDS:
                    return None
                self._last_progress[key] = now
                return Decimal(match[1]) / 100, (match[2] or "")[:200]
        return None


def _new(line: LogLine) -> NewLine:
    return NewLine(time=line.time, stream=line.stream, text=line.text)


def _begin(begun: dict[str, NewLine], batch: list[LogLine]) -> None:
    """Bring the lines that have begun, by stream, up to the end of the batch."""
    for line in batch:
        before = begun.pop(line.stream, None)
        if line.partial:
            same = before is not None and before.text == line.text
            begun[line.stream] = before if same and before is not None else _new(line)


async def _stream(
    provider: AnyProvider, ref: LeaseRef, cursor: str | None, *, follow: bool
) -> AsyncGenerator[LogLine, None]:
    # A generator of our own, so that it can be closed whatever the provider returned.
    async for line in provider.logs(ref, since=cursor, follow=follow):
        yield line


async def _batches(lines: AsyncIterator[LogLine]) -> AsyncGenerator[list[LogLine], None]:
    """Groups lines: a quiet job is copied at once, a loud one in large pieces."""
    queue: asyncio.Queue[LogLine | BaseException | None] = asyncio.Queue(maxsize=5000)
    reader = asyncio.create_task(_read(lines, queue))
    try:
        while True:
            first = await queue.get()
            if first is None:
                return
            if isinstance(first, BaseException):
                raise first
            batch, rest = await _fill(first, queue)
            yield batch
            if isinstance(rest, BaseException):
                raise rest
            if rest:
                return
    finally:
        await end_tasks([reader])


async def _read(
    lines: AsyncIterator[LogLine], queue: "asyncio.Queue[LogLine | BaseException | None]"
) -> None:
    try:
        async for line in lines:
            await queue.put(line)
    except Exception as error:
        await queue.put(error)
    else:
        await queue.put(None)


async def _fill(
    first: LogLine, queue: "asyncio.Queue[LogLine | BaseException | None]"
) -> tuple[list[LogLine], bool | BaseException]:
    batch = [first]
    size = len(first.text)
    until = time.monotonic() + _BATCH_SECONDS
    while size < _BATCH_BYTES and (left := until - time.monotonic()) > 0:
        try:
            # Waiting is dear: a loud job's lines are mostly there already.
            received = (
                queue.get_nowait() if queue.qsize() else await asyncio.wait_for(queue.get(), left)
            )
        except TimeoutError:
            break
        if received is None:
            return batch, True
        if isinstance(received, BaseException):
            return batch, received
        batch.append(received)
        size += len(received.text)
    return batch, False
