"""The event table: outbox and history in one.

Readers see events in the order (`tx`, `seq`) and only below the oldest running transaction, so
an event that commits late is never skipped. A transaction that writes events of a job takes the
job's advisory lock first (`JobRepository.lock`), which makes that order causal per job.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Text,
    cast,
    func,
    insert,
    or_,
    select,
    text,
    true,
    tuple_,
    union_all,
)

from cortex.db.base import Access, Repository, Row, Transacts
from cortex.db.tables.events import EventRow
from cortex.db.tables.groups import JobGroupRow
from cortex.db.tables.jobs import JobRow
from cortex.domain.errors import InvalidRequest
from cortex.domain.events import Event, EventType, NewEvent
from cortex.domain.ids import new_id

CHANNEL = "cortex_events"
_HORIZON = text("events.tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


def event_rows(events: Sequence[NewEvent]) -> list[dict[str, Any]]:
    """Events with their new ids, by the names of their columns."""
    return [
        {
            "id": new_id("evt"),
            "type": event.type.value,
            "subject": event.subject,
            "job_id": event.job_id,
            "data": dict(event.data),
        }
        for event in events
    ]


class EventRepository(Repository[Access]):
    async def add(
        self: "EventRepository[Transacts]",
        event_type: EventType,
        subject: str,
        *,
        job_id: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Write one event; a trigger wakes the listeners when the transaction commits."""
        await self.add_many(
            [NewEvent(type=event_type, subject=subject, job_id=job_id, data=data or {})]
        )

    async def add_many(self: "EventRepository[Transacts]", events: Sequence[NewEvent]) -> None:
        """Write several events in their order."""
        await self.connection.execute(insert(EventRow), event_rows(events))

    async def page(
        self,
        after: str | None,
        *,
        job_id: str | None = None,
        projects: frozenset[str] | None = None,
        types: Collection[EventType] | None = None,
        subjects: Collection[str] | None = None,
        limit: int = 500,
    ) -> list[Event]:
        """Events after a position, oldest first.

        Args:
            after: The position of the last one seen; None: from the start.
            job_id: Of this job only.
            projects: Of jobs and groups in these only, and none about anything else; None: all.
            types: Of these types only; None: of all.
            subjects: About these, by their ids, and what belongs to the jobs among them; None: all.
            limit: At most so many.

        Raises:
            InvalidRequest: `after` is no position.
        """
        query = select(EventRow.__table__).where(_HORIZON, *_after(after))
        if job_id is not None:
            query = query.where(EventRow.job_id == job_id)
        if projects is not None:
            query = query.where(_in_projects(projects))
        if types is not None:
            query = query.where(EventRow.type.in_([event_type.value for event_type in types]))
        if subjects is not None:
            about = or_(EventRow.job_id.in_(subjects), EventRow.subject.in_(subjects))
            query = query.where(about)
        query = query.order_by(EventRow.tx, EventRow.seq).limit(limit)
        rows = (await self.connection.execute(query)).mappings()
        return [event_of(row) for row in rows]

    async def of_jobs(
        self, job_ids: Sequence[str], after: str | None, *, limit: int
    ) -> dict[str, list[Event]]:
        """Events of each of these jobs after a position, oldest first, as many of each at most.

        Raises:
            InvalidRequest: `after` is no position.
        """
        every = func.unnest(cast(list(job_ids), ARRAY(Text)))
        jobs = every.table_valued("id", name="asked").render_derived()
        one = (
            select(EventRow.__table__)
            .where(_HORIZON, *_after(after), EventRow.job_id == jobs.c.id)
            .order_by(EventRow.tx, EventRow.seq)
            .limit(limit)
            .lateral()
        )
        query = select(one).select_from(jobs).join(one, true()).order_by(one.c.tx, one.c.seq)
        found: dict[str, list[Event]] = {job_id: [] for job_id in job_ids}
        for row in (await self.connection.execute(query)).mappings():
            found[row["job_id"]].append(event_of(row))
        return found

    async def group_page(self, group_id: str, after: str | None, *, limit: int) -> list[Event]:
        """Events of a group and of its members after a position, oldest first.

        Raises:
            InvalidRequest: `after` is no position.
        """
        members = select(JobRow.id).where(JobRow.group_id == group_id)
        # Two parts, each by its own index.
        parts = [
            select(EventRow.__table__)
            .where(_HORIZON, *_after(after), whose)
            .order_by(EventRow.tx, EventRow.seq)
            .limit(limit)
            .subquery()
            for whose in (
                EventRow.job_id.in_(members),
                EventRow.job_id.is_(None) & (EventRow.subject == group_id),
            )
        ]
        both = union_all(*(select(part) for part in parts)).subquery()
        query = select(both).order_by(both.c.tx, both.c.seq).limit(limit)
        rows = (await self.connection.execute(query)).mappings()
        return [event_of(row) for row in rows]

    async def projects(self, events: Sequence[Event]) -> dict[str, str | None]:
        """The project of each event, by the event's id; None: it is about no job and no group.

        What is in a project stays there: the answer may be kept.
        """
        jobs = {event.job_id for event in events if event.job_id is not None}
        groups = {event.subject for event in events if event.job_id is None}
        owners: dict[str, str] = {}
        for table, ids in ((JobRow, jobs), (JobGroupRow, groups)):
            if ids:
                query = select(table.id, table.project).where(table.id.in_(ids))
                owners |= {row.id: row.project for row in await self.connection.execute(query)}
        return {event.id: owners.get(event.job_id or event.subject) for event in events}

    async def latest(self) -> str:
        """The position after every event that is visible now; for `tail`."""
        query = (
            select(EventRow.tx, EventRow.seq)
            .where(_HORIZON)
            .order_by(EventRow.tx.desc(), EventRow.seq.desc())
            .limit(1)
        )
        row = (await self.connection.execute(query)).first()
        return f"{row.tx}-{row.seq}" if row else "0-0"


def _after(position: str | None) -> list[ColumnElement[bool]]:
    if position is None:
        return []
    return [tuple_(EventRow.tx, EventRow.seq) > parse_position(position)]


def _in_projects(projects: frozenset[str]) -> ColumnElement[bool]:
    jobs = select(JobRow.id).where(JobRow.id == EventRow.job_id, JobRow.project.in_(projects))
    groups = select(JobGroupRow.id).where(
        JobGroupRow.id == EventRow.subject, JobGroupRow.project.in_(projects)
    )
    return or_(jobs.exists(), EventRow.job_id.is_(None) & groups.exists())


def event_of(row: Row) -> Event:
    return Event(
        id=row["id"],
        position=f"{row['tx']}-{row['seq']}",
        type=EventType(row["type"]),
        subject=row["subject"],
        job_id=row["job_id"],
        time=row["created_at"],
        data=row["data"],
    )


POSITION: Final = "^[0-9]{1,18}-[0-9]{1,18}$"
"""What the position of an event looks like."""


def parse_position(text_: str) -> tuple[int, int]:
    """The pair inside an event position such as `1234-56`."""
    tx, _, seq = text_.partition("-")
    if not re.fullmatch(POSITION, text_):
        raise InvalidRequest(f"`{text_[:40]}` is no event position; use one that an event carried")
    return int(tx), int(seq)
