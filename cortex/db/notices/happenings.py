"""From events to notices, and from notices to messages.

There is one cursor in the stream of events. It moves in the transaction that stores the notices,
so that no crash loses one or makes two of it; whoever holds its row is the only one at work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.notices import NoticeRow
from cortex.domain.events import EventType
from cortex.domain.messages import Channel, MessageKind, MessageState
from cortex.domain.notices import TOLD_TYPES, Occurrence
from cortex.domain.spec.notify import Notify

_ALONE: Final = text("SELECT tx, seq FROM notice_cursor FOR UPDATE SKIP LOCKED")
_MOVE: Final = text("UPDATE notice_cursor SET tx = :tx, seq = :seq")
_BEHIND: Final = text("""
SELECT EXISTS (SELECT 1 FROM events AS e, notice_cursor AS c WHERE (e.tx, e.seq) > (c.tx, c.seq))
""")

# Most events are told nobody: their jobs are not looked at. Those of transactions that may still
# have earlier ones beside them come last; see `cortex.db.outbox.events`.
_PAGE: Final = text("""
SELECT e.id, e.type, e.subject, e.created_at, e.data, e.tx, e.seq,
    e.tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS settled,
    coalesce(j.owner, g.owner, s.owner) AS owner,
    coalesce(j.project, g.project, s.project) AS project,
    coalesce(j.name, g.name, s.name) AS name,
    coalesce(j.group_id, g.id) AS group_id, whole.name AS group_name,
    CASE WHEN j.group_id IS NOT NULL THEN whole.spec -> 'notify'
        ELSE coalesce(j.spec, g.spec) -> 'notify' END AS notify
FROM events AS e
LEFT JOIN jobs AS j ON e.type = ANY(:types) AND j.id = e.job_id
LEFT JOIN job_groups AS g ON e.type = ANY(:types) AND e.job_id IS NULL AND g.id = e.subject
LEFT JOIN job_groups AS whole ON whole.id = j.group_id
LEFT JOIN schedules AS s ON e.type = ANY(:types) AND e.job_id IS NULL AND s.id = e.subject
WHERE (e.tx, e.seq) > (:tx, :seq) ORDER BY e.tx, e.seq LIMIT :limit
""")

_MEMBERS: Final = text("""
SELECT state, count(*) AS number,
    (array_agg(coalesce(member, name) ORDER BY id))[1:5] AS names
FROM jobs WHERE group_id = :group_id GROUP BY state ORDER BY state
""")

# Whom something waits for long enough; not while an earlier message is under way or was sent just
# now: what comes up meanwhile is told with the next one.
_RIPE: Final = text(f"""
SELECT n.person, n.channel FROM notices AS n
WHERE n.told_at IS NULL GROUP BY n.person, n.channel
HAVING min(n.created_at) <= now() - CAST(:gather AS interval) AND NOT EXISTS (
    SELECT 1 FROM messages AS m
    WHERE m.recipient = n.person AND m.channel = n.channel
        AND m.kind = '{MessageKind.NOTICE.value}'
        AND (m.state = '{MessageState.PENDING.value}'
            OR m.created_at > now() - CAST(:gap AS interval)))
LIMIT :limit
""")
_TAKE: Final = text("""
UPDATE notices SET told_at = now()
WHERE person = :person AND channel = :channel AND told_at IS NULL
RETURNING number, kind, subject, owner, project, title, text, see, time
""")

Position = tuple[int, int]


@dataclass(frozen=True)
class Happened:
    """An event; `settled`: no earlier one can follow. None: it is told nobody."""

    position: Position
    settled: bool
    occurrence: Occurrence | None


@dataclass(frozen=True)
class MemberCount:
    """How many members of a group are in a state, and names of the first of them."""

    state: str
    number: int
    names: Sequence[str]


@dataclass(frozen=True)
class NewNotice:
    """What one person is to be told over one channel."""

    person: str
    channel: Channel
    text: str
    occurrence: Occurrence


@dataclass(frozen=True)
class Told:
    """A notice that is put into a message now."""

    number: int
    kind: str
    subject: str
    owner: str
    project: str
    title: str
    text: str
    see: str
    time: datetime


class NoticeRepository(Repository[Access]):
    async def behind(self) -> bool:
        """Whether there are events that nobody has looked at."""
        return bool((await self.connection.execute(_BEHIND)).scalar_one())

    async def alone(self: "NoticeRepository[Transacts]") -> Position | None:
        """The position of the cursor, which is this transaction's now; None: it is another's."""
        row = (await self.connection.execute(_ALONE)).first()
        return None if row is None else (row.tx, row.seq)

    async def page(self, after: Position, limit: int) -> list[Happened]:
        """Events behind a position, oldest first."""
        values = {
            "tx": after[0],
            "seq": after[1],
            "limit": limit,
            "types": [each.value for each in TOLD_TYPES],
        }
        rows = (await self.connection.execute(_PAGE, values)).mappings()
        return [Happened((row["tx"], row["seq"]), row["settled"], _occurrence(row)) for row in rows]

    async def move(self: "NoticeRepository[Transacts]", position: Position) -> None:
        """All up to a position was looked at."""
        await self.connection.execute(_MOVE, {"tx": position[0], "seq": position[1]})

    async def members(self, group_id: str) -> list[MemberCount]:
        """How many members of a group are in which state."""
        rows = await self.connection.execute(_MEMBERS, {"group_id": group_id})
        return [MemberCount(row.state, row.number, row.names) for row in rows]

    async def add(self: "NoticeRepository[Writes]", notices: Sequence[NewNotice]) -> None:
        """Store what is to be told; what the same person was told already is left out."""
        if not notices:
            return
        rows = [
            {
                "person": each.person,
                "channel": each.channel.value,
                "key": each.occurrence.key,
                "kind": str(each.occurrence.kind),
                "subject": each.occurrence.subject,
                "owner": each.occurrence.owner,
                "project": each.occurrence.project,
                "title": each.occurrence.title,
                "text": each.text,
                "see": each.occurrence.see,
                "time": each.occurrence.time,
            }
            for each in notices
        ]
        statement = upsert(NoticeRow).on_conflict_do_nothing(
            index_elements=["person", "channel", "key"]
        )
        await self.connection.execute(statement, rows)

    async def ripe(
        self, gather: timedelta, gap: timedelta, limit: int
    ) -> list[tuple[str, Channel]]:
        """Whom something is to be told now, and over which channel.

        Args:
            gather: How long the first of several waits for the others.
            gap: The least time between two messages.
            limit: At most so many.
        """
        values = {"gather": gather, "gap": gap, "limit": limit}
        rows = await self.connection.execute(_RIPE, values)
        return [(row.person, Channel(row.channel)) for row in rows]

    async def take(
        self: "NoticeRepository[Transacts]", person: str, channel: Channel
    ) -> list[Told]:
        """All that waits for somebody, the oldest first; it counts as told."""
        values = {"person": person, "channel": channel.value}
        rows = (await self.connection.execute(_TAKE, values)).mappings()
        return sorted((Told(**row) for row in rows), key=lambda told: told.number)

    async def waiting(self) -> int:
        """How many notices wait."""
        query = select(func.count()).where(NoticeRow.told_at.is_(None))
        return int((await self.connection.execute(query)).scalar_one())

    async def expire(self: "NoticeRepository[Writes]", older_than: timedelta) -> int:
        """Delete what was told longer ago; returns how many."""
        statement = delete(NoticeRow).where(NoticeRow.told_at < func.now() - older_than)
        return int((await self.connection.execute(statement)).rowcount)


def _occurrence(row: Row) -> Occurrence | None:
    if row["owner"] is None:
        return None
    return Occurrence(
        id=row["id"],
        type=EventType(row["type"]),
        subject=row["subject"],
        time=row["created_at"],
        data=row["data"],
        owner=row["owner"],
        project=row["project"],
        name=row["name"],
        group_id=row["group_id"],
        group_name=row["group_name"] or "",
        notify=_notify(row["notify"]),
    )


def _notify(stored: Any) -> Notify | None:
    try:
        return None if stored is None else Notify.model_validate(stored)
    except ValidationError:  # of a later version: better nobody is told than nothing works
        return None
