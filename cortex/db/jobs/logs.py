"""The copied output of jobs: bounded chunks that outlive their lease.

A job keeps the first quarter of its limit and the newest rest; what falls between is counted in
`jobs.log_dropped_bytes`. Lines that have begun and not ended (a prompt, a progress bar) stand in
`jobs.log_open` until they end. Cursors are `<chunk>:<line>`: they stay valid while the chunk
exists and resume after the gap when it does not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, cast

from sqlalchemy import delete, func, insert, select, text, update

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.jobs import JobLogRow, JobRow
from cortex.db.tables.leases import LeaseRow
from cortex.domain.errors import InvalidRequest

CHANNEL = "cortex_logs"
LOOKED_AT = "cortex_logs_looked_at"
"""Tells workers whose log somebody looks at now. Lost notices only make it come more slowly."""
Stream = Literal["stdout", "stderr", "cortex"]


@dataclass(frozen=True)
class StoredLine:
    cursor: str
    time: datetime
    attempt: int
    stream: Stream
    text: str
    partial: bool = False


@dataclass(frozen=True)
class NewLine:
    time: datetime
    stream: Stream
    text: str


class LogRepository(Repository[Access]):
    async def append(
        self: "LogRepository[Transacts]",
        job_id: str,
        attempt: int,
        lines: Sequence[NewLine],
        *,
        limit: int,
        lease_key: str | None = None,
        cursor: tuple[str | None, str | None] | None = None,
        begun: Sequence[NewLine] | None = None,
    ) -> bool:
        """Add lines to a job's output and keep it within `limit` bytes.

        `begun` are the lines that have begun and not ended after these, all of them; None: nothing
        is known of them. What an earlier attempt had begun stays, as a line of that attempt.

        With `lease_key` and `cursor` = (expected, new), the lease's place in the provider's log
        moves on in the same transaction; False and nothing written if it is not where expected,
        because another copier was faster.
        """
        if lease_key is not None and cursor is not None:
            moved = await self.connection.execute(
                update(LeaseRow)
                .where(
                    LeaseRow.key == lease_key,
                    LeaseRow.log_cursor.is_not_distinct_from(cursor[0]),
                )
                .values(log_cursor=cursor[1])
                .returning(LeaseRow.key)
            )
            if moved.first() is None:
                return False
        if begun is not None:
            await self._begin(job_id, attempt, begun, limit)
        if lines:
            await self._add(job_id, attempt, lines, limit)
        if lines or begun is not None:
            await self.connection.execute(
                text("SELECT pg_notify(:channel, :job)"), {"channel": CHANNEL, "job": job_id}
            )
        return True

    async def _begin(
        self: "LogRepository[Transacts]",
        job_id: str,
        attempt: int,
        begun: Sequence[NewLine],
        limit: int,
    ) -> None:
        left = [line for line in await self.open_lines(job_id) if line.attempt != attempt]
        for line in left:
            whole = NewLine(time=line.time, stream=line.stream, text=line.text)
            await self._add(job_id, line.attempt, [whole], limit)
        packed = [[*_packed(line), attempt] for line in begun]
        await self.connection.execute(
            update(JobRow).where(JobRow.id == job_id).values(log_open=packed)
        )

    async def _add(
        self: "LogRepository[Transacts]",
        job_id: str,
        attempt: int,
        lines: Sequence[NewLine],
        limit: int,
    ) -> None:
        size = sum(len(line.text.encode()) + 1 for line in lines)
        counted = await self.connection.execute(
            update(JobRow)
            .where(JobRow.id == job_id)
            .values(log_seq=JobRow.log_seq + 1, log_bytes=JobRow.log_bytes + size)
            .returning(JobRow.log_seq, JobRow.log_bytes)
        )
        seq, total = counted.one()
        await self.connection.execute(
            insert(JobLogRow).values(
                job_id=job_id,
                seq=seq,
                attempt=attempt,
                bytes=size,
                last_at=lines[-1].time,
                lines=[_packed(line) for line in lines],
            )
        )
        if total > limit:
            await self._shrink(job_id, limit)

    async def looked_at(self: "LogRepository[Writes]", job_id: str) -> None:
        """Tell whoever copies the job's log that somebody looks at it now."""
        await self.connection.execute(
            text("SELECT pg_notify(:channel, :job)"), {"channel": LOOKED_AT, "job": job_id}
        )

    async def _shrink(self: "LogRepository[Transacts]", job_id: str, limit: int) -> None:
        before = func.sum(JobLogRow.bytes).over(order_by=JobLogRow.seq)
        sizes = (
            select(JobLogRow.seq, JobLogRow.bytes, before.label("upto"))
            .where(JobLogRow.job_id == job_id)
            .order_by(JobLogRow.seq)
        )
        rows = (await self.connection.execute(sizes)).all()
        excess = rows[-1].upto - limit
        doomed: list[int] = []
        dropped = 0
        for row in rows[:-1]:
            if dropped >= excess:
                break
            if row.upto > limit // 4:
                doomed.append(row.seq)
                dropped += row.bytes
        if not doomed:
            return
        await self.connection.execute(
            delete(JobLogRow).where(JobLogRow.job_id == job_id, JobLogRow.seq.in_(doomed))
        )
        await self.connection.execute(
            update(JobRow)
            .where(JobRow.id == job_id)
            .values(
                log_bytes=JobRow.log_bytes - dropped,
                log_dropped_bytes=JobRow.log_dropped_bytes + dropped,
            )
        )

    async def read(
        self, job_id: str, *, since: str | None = None, limit: int = 1000
    ) -> list[StoredLine]:
        """Lines after a cursor, oldest first. A gap where lines were dropped is one line of
        the stream `cortex` that says so.

        Raises:
            InvalidRequest: `since` is no cursor.
        """
        seq, index = parse_cursor(since) if since else (0, 0)
        lines: list[StoredLine] = []
        edge = previous = seq
        count = _FIRST_CHUNKS
        while len(lines) < limit:
            chunks = await self._chunks(job_id, edge, count, newest_first=False)
            for chunk in chunks:
                if len(lines) >= limit:
                    break
                if chunk.seq > previous + 1:
                    lines.append(_gap(chunk))
                first = index if chunk.seq == seq else 0
                lines.extend(_lines(chunk, first, first + limit - len(lines)))
                previous = chunk.seq
            if len(chunks) < count:
                break
            edge = previous + 1
            count = _next_count(chunks, limit - len(lines))
        return lines[:limit]

    async def open_lines(self, job_id: str, cursor: str = "0:0") -> list[StoredLine]:
        """The lines that have begun and not ended; `cursor` is the place before them."""
        query = select(JobRow.log_open).where(JobRow.id == job_id)
        return [
            StoredLine(
                cursor=cursor,
                time=_EPOCH + timedelta(microseconds=micros),
                attempt=attempt,
                stream=_STREAMS[stream],
                text=text,
                partial=True,
            )
            for micros, stream, text, attempt in await self.connection.scalar(query) or []
        ]

    async def tail(self, job_id: str, count: int) -> list[StoredLine]:
        """The last `count` lines."""
        lines: list[StoredLine] = []
        below: int | None = None
        batch = _FIRST_CHUNKS
        while len(lines) < count:
            chunks = await self._chunks(job_id, below, batch, newest_first=True)
            for chunk in chunks:
                missing = count - len(lines)
                if missing <= 0:
                    break
                lines = _lines(chunk, max(0, len(chunk.lines) - missing)) + lines
            if len(chunks) < batch:
                break
            below = chunks[-1].seq
            batch = _next_count(chunks, count - len(lines))
        return lines

    async def expire(self: "LogRepository[Writes]", older_than: timedelta) -> int:
        """Delete the output of jobs that ended longer ago; returns how many chunks."""
        old = select(JobRow.id).where(JobRow.finished_at < func.now() - older_than)
        done = await self.connection.execute(
            delete(JobLogRow).where(JobLogRow.job_id.in_(old.scalar_subquery()))
        )
        return int(done.rowcount)

    async def _chunks(
        self, job_id: str, edge: int | None, count: int, *, newest_first: bool
    ) -> list[Any]:
        query = select(JobLogRow.seq, JobLogRow.attempt, JobLogRow.lines, JobLogRow.last_at).where(
            JobLogRow.job_id == job_id
        )
        if newest_first:
            if edge is not None:
                query = query.where(JobLogRow.seq < edge)
            query = query.order_by(JobLogRow.seq.desc())
        else:
            query = query.where(JobLogRow.seq >= (edge or 0)).order_by(JobLogRow.seq)
        return list((await self.connection.execute(query.limit(count))).all())


# A chunk holds one line or thousands: how many are read at once follows what the first ones hold.
_FIRST_CHUNKS = 2
_MAX_CHUNKS = 200
_STREAMS: tuple[Stream, ...] = ("stdout", "stderr", "cortex")


LOG_CURSOR: Final = "^[0-9]{1,9}:[0-9]{1,9}$"
"""What the cursor of a log line looks like."""


def parse_cursor(cursor: str) -> tuple[int, int]:
    """Chunk and line of a log cursor."""
    seq, _, index = cursor.partition(":")
    if not re.fullmatch(LOG_CURSOR, cursor):
        raise InvalidRequest(f"`{cursor[:30]}` is no log cursor; use one that a line carried")
    return int(seq), int(index)


def _packed(line: NewLine) -> list[Any]:
    micros = (line.time - _EPOCH) // timedelta(microseconds=1)
    return [micros, _STREAMS.index(line.stream), line.text.replace("\0", "\ufffd")]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _next_count(chunks: Sequence[Any], missing: int) -> int:
    held = max(1, sum(len(chunk.lines) for chunk in chunks))
    return max(_FIRST_CHUNKS, min(_MAX_CHUNKS, -(-missing * len(chunks) // held)))


def _lines(chunk: Any, first: int = 0, end: int | None = None) -> list[StoredLine]:
    return [
        StoredLine(
            cursor=f"{chunk.seq}:{index}",
            time=_EPOCH + timedelta(microseconds=packed[0]),
            attempt=chunk.attempt,
            stream=_STREAMS[packed[1]],
            text=cast(str, packed[2]),
        )
        for index, packed in enumerate(chunk.lines[first:end], start=first + 1)
    ]


def _gap(chunk: Any) -> StoredLine:
    return StoredLine(
        cursor=f"{chunk.seq}:0",
        time=chunk.last_at,
        attempt=chunk.attempt,
        stream="cortex",
        text="[lines are missing here: the job wrote more than the log limit keeps]",
    )
