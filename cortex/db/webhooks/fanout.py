"""From events to deliveries: each event becomes one delivery for each webhook that wants it.

Every webhook has a cursor in the stream of events. It moves in the transaction that stores the
deliveries, so that no crash loses an event or makes two of it. One worker at a time does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from cortex.db.base import Access, Repository, Transacts
from cortex.domain.ids import new_id
from cortex.domain.rights import Reach
from cortex.domain.webhooks import DeliveryState, JobFilter, Subject

_LOCK: Final = 0x636F7274_776562  # of this house; not of Temporal or of migrations
_PENDING: Final = DeliveryState.PENDING.value

_BEHIND: Final = text("""
SELECT EXISTS (SELECT 1 FROM webhooks WHERE enabled) AS wanted, EXISTS (
    SELECT 1 FROM (SELECT tx, seq FROM webhooks WHERE enabled ORDER BY tx, seq LIMIT 1) AS w
    CROSS JOIN LATERAL (SELECT 1 FROM events AS e WHERE (e.tx, e.seq) > (w.tx, w.seq) LIMIT 1) AS e
) AS behind
""")

_SUBSCRIBERS: Final = text("""
SELECT id, owner, project, reach, events, jobs, tx, seq,
    ARRAY(SELECT project FROM project_members WHERE member = webhooks.owner) AS projects
FROM webhooks WHERE enabled
ORDER BY id FOR NO KEY UPDATE
""")

# Events of transactions that may still have earlier ones beside them come last; see
# `cortex.db.outbox.events`.
_PAGE: Final = text("""
SELECT e.id, e.type, e.tx, e.seq, coalesce(e.job_id, e.subject) AS lane,
    e.tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS settled,
    coalesce(j.owner, g.owner) AS owner, coalesce(j.project, g.project) AS project,
    coalesce(j.labels, g.labels) AS labels, coalesce(j.group_id, g.id) AS group_id
FROM events AS e
LEFT JOIN jobs AS j ON j.id = e.job_id
LEFT JOIN job_groups AS g ON e.job_id IS NULL AND g.id = e.subject
WHERE (e.tx, e.seq) > (:tx, :seq) ORDER BY e.tx, e.seq LIMIT :limit
""")

# Only the oldest that waits in a lane is due. Whoever ends it makes the next one due, under the
# lock on the webhook that is held here too.
_QUEUE: Final = text(f"""
INSERT INTO webhook_deliveries (id, webhook_id, event_id, event_type, lane, tx, seq, due_at)
SELECT n.id, :webhook_id, n.event_id, n.event_type, n.lane, n.tx, n.seq,
    CASE WHEN n.first AND NOT EXISTS (
        SELECT 1 FROM webhook_deliveries AS d
        WHERE d.webhook_id = :webhook_id AND d.lane = n.lane AND d.state = '{_PENDING}')
    THEN now() END
FROM unnest(CAST(:ids AS text[]), CAST(:event_ids AS text[]), CAST(:types AS text[]),
    CAST(:lanes AS text[]), CAST(:txs AS bigint[]), CAST(:seqs AS bigint[]),
    CAST(:firsts AS boolean[])) AS n(id, event_id, event_type, lane, tx, seq, first)
ON CONFLICT (webhook_id, event_id) DO NOTHING
""")

_MOVE: Final = text("UPDATE webhooks SET tx = :tx, seq = :seq WHERE id = ANY(:ids)")


@dataclass(frozen=True)
class Behind:
    """Whether anybody wants events, and whether there are some that nobody has looked at."""

    wanted: bool
    behind: bool


Position = tuple[int, int]


@dataclass(frozen=True)
class Listening:
    """A webhook, as far as it decides which events it gets."""

    id: str
    owner: str
    project: str
    reach: Reach
    projects: tuple[str, ...]
    events: tuple[str, ...]
    jobs: JobFilter
    position: Position


@dataclass(frozen=True)
class Happened:
    """An event, as far as it decides who gets it. `settled`: no earlier one can follow."""

    id: str
    type: str
    lane: str
    position: Position
    settled: bool
    subject: Subject


class FanoutRepository(Repository[Access]):
    async def behind(self) -> Behind:
        """Whether there is anything to do."""
        row = (await self.connection.execute(_BEHIND)).one()
        return Behind(row.wanted, row.behind)

    async def alone(self: "FanoutRepository[Transacts]") -> bool:
        """Whether this transaction is the only one that hands out events, until it ends."""
        query = text("SELECT pg_try_advisory_xact_lock(:lock)")
        return bool((await self.connection.execute(query, {"lock": _LOCK})).scalar_one())

    async def listening(self: "FanoutRepository[Transacts]") -> list[Listening]:
        """Every enabled webhook, locked."""
        rows = (await self.connection.execute(_SUBSCRIBERS)).all()
        return [
            Listening(
                id=row.id,
                owner=row.owner,
                project=row.project,
                reach=Reach(row.reach),
                projects=tuple(row.projects),
                events=tuple(row.events),
                jobs=JobFilter.model_validate(row.jobs),
                position=(row.tx, row.seq),
            )
            for row in rows
        ]

    async def page(self, after: Position, limit: int) -> list[Happened]:
        """Events behind a position, oldest first."""
        values = {"tx": after[0], "seq": after[1], "limit": limit}
        rows = (await self.connection.execute(_PAGE, values)).all()
        return [
            Happened(
                id=row.id,
                type=row.type,
                lane=row.lane,
                position=(row.tx, row.seq),
                settled=row.settled,
                subject=Subject(row.owner, row.project, row.labels, row.group_id),
            )
            for row in rows
        ]

    async def queue(
        self: "FanoutRepository[Transacts]", webhook_id: str, events: Sequence[Happened]
    ) -> None:
        """Store a delivery of each event, in their order."""
        seen: set[str] = set()
        firsts = []
        for event in events:
            firsts.append(event.lane not in seen)
            seen.add(event.lane)
        values = {
            "webhook_id": webhook_id,
            "ids": [new_id("dlv") for _ in events],
            "event_ids": [event.id for event in events],
            "types": [event.type for event in events],
            "lanes": [event.lane for event in events],
            "txs": [event.position[0] for event in events],
            "seqs": [event.position[1] for event in events],
            "firsts": firsts,
        }
        await self.connection.execute(_QUEUE, values)

    async def move(
        self: "FanoutRepository[Transacts]", ids: Sequence[str], position: Position
    ) -> None:
        """These webhooks have been given all up to a position."""
        values = {"tx": position[0], "seq": position[1], "ids": list(ids)}
        await self.connection.execute(_MOVE, values)
