"""Deliveries: claimed, done with, tried again, shown.

Whoever ends a delivery, or makes one due again, holds the lock on its webhook first: the order
within a lane hangs on that.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import select, text

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.outbox.events import event_of
from cortex.db.tables.webhooks import WebhookDeliveryRow
from cortex.domain.errors import NotFound
from cortex.domain.events import Event
from cortex.domain.ids import new_id
from cortex.domain.rights import Reach
from cortex.domain.webhooks import (
    PING,
    Attempt,
    Delivery,
    DeliveryState,
    Subject,
    ping_body,
)

_KEPT_ATTEMPTS: Final = 20
_PENDING: Final = DeliveryState.PENDING.value
_DEAD: Final = DeliveryState.DEAD.value

_DUE: Final = text(f"""
SELECT
    EXISTS (SELECT 1 FROM webhooks AS w CROSS JOIN LATERAL (
        SELECT 1 FROM webhook_deliveries AS d
        WHERE d.webhook_id = w.id AND d.state = '{_PENDING}' AND d.due_at <= now()
            AND (w.enabled OR d.event_id IS NULL) LIMIT 1) AS d
        WHERE w.id <> ALL(CAST(:full AS text[]))) AS due,
    (SELECT min(next.due_at) - now() FROM webhooks AS w CROSS JOIN LATERAL (
        SELECT d.due_at FROM webhook_deliveries AS d
        WHERE d.webhook_id = w.id AND d.state = '{_PENDING}' AND d.due_at > now()
        ORDER BY d.due_at LIMIT 1) AS next) AS next_in
""")

# Materialised: planned as a part of the update it might be carried out, and lock, more than once.
_CLAIM: Final = text(f"""
WITH chosen AS MATERIALIZED (
    SELECT due.id FROM webhooks AS w CROSS JOIN LATERAL (
        SELECT d.id FROM webhook_deliveries AS d
        WHERE d.webhook_id = w.id AND d.state = '{_PENDING}' AND d.due_at <= now()
            AND (w.enabled OR d.event_id IS NULL)
        ORDER BY d.due_at LIMIT :each FOR UPDATE SKIP LOCKED) AS due
    WHERE w.id <> ALL(CAST(:full AS text[])) LIMIT :limit)
UPDATE webhook_deliveries AS d SET claim = :claim, due_at = now() + CAST(:lease AS interval)
FROM chosen WHERE d.id = chosen.id RETURNING d.id
""")

_CLAIMED: Final = text("""
SELECT d.id AS delivery_id, d.webhook_id, d.event_id, d.body, d.attempts,
    now() - d.queued_at AS age, w.url, w.secrets, w.owner AS webhook_owner,
    w.project AS webhook_project, w.reach,
    w.previous_until > now() AS overlap,
    e.id, e.tx, e.seq, e.type, e.subject, e.job_id, e.created_at, e.data,
    coalesce(j.owner, g.owner) AS owner, coalesce(j.project, g.project) AS project,
    ARRAY(SELECT project FROM project_members WHERE member = w.owner) AS projects
FROM webhook_deliveries AS d JOIN webhooks AS w ON w.id = d.webhook_id
LEFT JOIN events AS e ON d.event_id IS NOT NULL AND e.tx = d.tx AND e.seq = d.seq
LEFT JOIN jobs AS j ON j.id = e.job_id
LEFT JOIN job_groups AS g ON e.job_id IS NULL AND g.id = e.subject
WHERE d.id = ANY(:ids)
""")

_LOCK: Final = text(
    "SELECT failures, now() - failing_since AS failing_for FROM webhooks "
    "WHERE id = :webhook_id FOR NO KEY UPDATE"
)

# Only by whoever has the claim: a worker that was frozen meanwhile has lost it.
_END: Final = text(f"""
UPDATE webhook_deliveries SET claim = NULL, attempts = attempts + 1,
    log = (CASE WHEN jsonb_array_length(log) >= {_KEPT_ATTEMPTS} THEN log - 0 ELSE log END)
        || CAST(:attempt AS jsonb),
    state = :state,
    due_at = CASE WHEN :state = '{_PENDING}' THEN now() + CAST(:wait AS interval) END,
    ended_at = CASE WHEN :state <> '{_PENDING}' THEN now() END
WHERE id = :id AND claim = :claim AND state = '{_PENDING}' RETURNING lane
""")

_NEXT: Final = text(f"""
UPDATE webhook_deliveries SET due_at = now() WHERE due_at IS NULL AND id = (
    SELECT id FROM webhook_deliveries
    WHERE webhook_id = :webhook_id AND lane = :lane AND state = '{_PENDING}'
    ORDER BY tx, seq LIMIT 1)
""")

_WELL: Final = text("UPDATE webhooks SET failures = 0, failing_since = NULL WHERE id = :webhook_id")
_ILL: Final = text(
    "UPDATE webhooks SET failures = failures + 1, failing_since = coalesce(failing_since, now()) "
    "WHERE id = :webhook_id"
)
_MAY_HURRY: Final = text(
    "UPDATE webhooks SET hurried_at = now() WHERE id = :webhook_id "
    "AND (hurried_at IS NULL OR hurried_at < now() - interval '30 s')"
)
_HURRY: Final = text(
    "UPDATE webhook_deliveries SET due_at = now() WHERE webhook_id = :webhook_id "
    f"AND state = '{_PENDING}' AND due_at > now() AND claim IS NULL"
)

_REDELIVER: Final = text(f"""
UPDATE webhook_deliveries SET state = '{_PENDING}', due_at = NULL, claim = NULL, ended_at = NULL,
    queued_at = now()
WHERE webhook_id = :webhook_id AND event_id IS NOT NULL AND CASE
    WHEN CAST(:id AS text) IS NULL THEN state = '{_DEAD}'
    ELSE id = :id AND state <> '{_PENDING}' END
""")
# After it: the oldest of each lane is due, and what is behind one that was called back is not.
_HEADS: Final = text(f"""
UPDATE webhook_deliveries AS d SET due_at = CASE WHEN head THEN now() END
FROM (SELECT id, row_number() OVER (PARTITION BY lane ORDER BY tx, seq) = 1 AS head
    FROM webhook_deliveries WHERE webhook_id = :webhook_id AND state = '{_PENDING}') AS places
WHERE d.id = places.id AND d.claim IS NULL AND head <> (d.due_at IS NOT NULL)
""")

_PING: Final = text("""
INSERT INTO webhook_deliveries (id, webhook_id, event_type, lane, tx, seq, body, due_at)
VALUES (:id, :webhook_id, :event_type, :id, 0, 0, CAST(:body AS jsonb), now())
""")

_EXPIRE: Final = text(f"""
DELETE FROM webhook_deliveries WHERE id IN (
    SELECT id FROM webhook_deliveries
    WHERE ended_at < now() - least(CAST(:dead AS interval), CAST(:delivered AS interval))
    AND ended_at < now() - CASE WHEN state = '{_DEAD}' THEN CAST(:dead AS interval)
        ELSE CAST(:delivered AS interval) END
    LIMIT :limit)
""")


@dataclass(frozen=True)
class Due:
    """Whether something is to be sent now, and how long until more is."""

    now: bool
    next_in: timedelta | None


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that this worker is to send.

    Attributes:
        event: None: it is not kept any more, or this is a ping.
        body: Of a ping.
        subject: Whose event it is.
        owner: Whose webhook it is.
        project: Which it belongs to.
        projects: Those that the owner is in.
        overlap: Whether the secret of before signs as well.
        attempts: How often it was tried in vain.
        age: How long ago it was queued.
    """

    id: str
    claim: str
    webhook_id: str
    url: str
    sealed: bytes
    owner: str
    project: str
    reach: Reach
    projects: tuple[str, ...]
    overlap: bool
    event: Event | None
    body: dict[str, Any] | None
    subject: Subject
    attempts: int
    age: timedelta

    @property
    def is_ping(self) -> bool:
        return self.body is not None


@dataclass(frozen=True)
class Health:
    """How the receiver of a webhook did until now."""

    failures: int
    failing_for: timedelta | None


class DeliveryRepository(Repository[Access]):
    async def due(self, full: Collection[str]) -> Due:
        """Whether something is to be sent, to other webhooks than those in `full`."""
        row = (await self.connection.execute(_DUE, {"full": list(full)})).one()
        return Due(row.due, row.next_in)

    async def claim(
        self: "DeliveryRepository[Transacts]",
        claim: str,
        lease: timedelta,
        *,
        limit: int,
        each: int,
        full: Collection[str],
    ) -> list[ClaimedDelivery]:
        """Take deliveries that are due, `each` at most of one webhook; others pass over them.

        What is not ended within `lease` is due again.
        """
        values = {"claim": claim, "lease": lease, "limit": limit, "each": each, "full": list(full)}
        ids = list((await self.connection.execute(_CLAIM, values)).scalars())
        if not ids:
            return []
        rows = (await self.connection.execute(_CLAIMED, {"ids": ids})).mappings()
        return [_claimed(row, claim) for row in rows]

    async def lock(
        self: "DeliveryRepository[Transacts]", delivery: ClaimedDelivery
    ) -> Health | None:
        """Lock the webhook of a delivery; None: it is gone."""
        values = {"webhook_id": delivery.webhook_id}
        row = (await self.connection.execute(_LOCK, values)).first()
        return None if row is None else Health(row.failures, row.failing_for)

    async def end(
        self: "DeliveryRepository[Transacts]",
        delivery: ClaimedDelivery,
        attempt: Attempt,
        state: DeliveryState,
        *,
        wait: timedelta = timedelta(0),
    ) -> bool:
        """Write down an attempt; if no other follows, the next of its lane is due.

        False: somebody else has the delivery by now. The webhook must be locked.
        """
        values = {
            "id": delivery.id,
            "claim": delivery.claim,
            "attempt": orjson.dumps([attempt.model_dump(mode="json")]).decode(),
            "state": state.value,
            "wait": wait,
        }
        lane = (await self.connection.execute(_END, values)).scalar_one_or_none()
        if lane is None:
            return False
        if state is not DeliveryState.PENDING:
            place = {"webhook_id": delivery.webhook_id, "lane": lane}
            await self.connection.execute(_NEXT, place)
        return True

    async def well(self: "DeliveryRepository[Writes]", webhook_id: str) -> None:
        """The receiver has taken one."""
        await self.connection.execute(_WELL, {"webhook_id": webhook_id})

    async def hurry(self: "DeliveryRepository[Transacts]", webhook_id: str) -> None:
        """The receiver is back: what waits for its next attempt is due, at most every 30 s."""
        values = {"webhook_id": webhook_id}
        if (await self.connection.execute(_MAY_HURRY, values)).rowcount:
            await self.connection.execute(_HURRY, values)

    async def ill(self: "DeliveryRepository[Writes]", webhook_id: str) -> None:
        """The receiver has not taken one."""
        await self.connection.execute(_ILL, {"webhook_id": webhook_id})

    async def redeliver(
        self: "DeliveryRepository[Transacts]", webhook_id: str, delivery_id: str | None
    ) -> int:
        """Let one delivery that has ended wait again, or all dead ones; how many.

        The webhook must be locked.
        """
        values = {"webhook_id": webhook_id, "id": delivery_id}
        count = int((await self.connection.execute(_REDELIVER, values)).rowcount)
        if count:
            await self.connection.execute(_HEADS, {"webhook_id": webhook_id})
        return count

    async def add_ping(self: "DeliveryRepository[Writes]", webhook_id: str, time: datetime) -> str:
        """Store a ping, to be sent at once; its id."""
        delivery_id = new_id("dlv")
        body = ping_body(delivery_id, webhook_id, time)
        values = {
            "id": delivery_id,
            "webhook_id": webhook_id,
            "event_type": PING,
            "body": orjson.dumps(body).decode(),
        }
        await self.connection.execute(_PING, values)
        return delivery_id

    async def page(
        self,
        webhook_id: str,
        states: Sequence[DeliveryState],
        *,
        before: int | None,
        limit: int,
    ) -> list[Delivery]:
        """Deliveries of a webhook, the newest first."""
        row = WebhookDeliveryRow
        query = select(row.__table__).where(row.webhook_id == webhook_id)
        if states:
            query = query.where(row.state.in_([state.value for state in states]))
        if before is not None:
            query = query.where(row.number < before)
        query = query.order_by(row.number.desc()).limit(limit)
        return [_delivery(each) for each in (await self.connection.execute(query)).mappings()]

    async def get(self, webhook_id: str, delivery_id: str) -> Delivery:
        """One delivery.

        Raises:
            NotFound: the webhook has none with this id.
        """
        row = WebhookDeliveryRow
        query = select(row.__table__).where(row.webhook_id == webhook_id, row.id == delivery_id)
        there = (await self.connection.execute(query)).mappings().first()
        if there is None:
            raise NotFound(f"there is no delivery `{delivery_id[:60]}` of this webhook")
        return _delivery(there)

    async def expire(
        self: "DeliveryRepository[Writes]",
        delivered: timedelta,
        dead: timedelta,
        *,
        limit: int,
    ) -> int:
        """Delete what has ended longer ago, `limit` at most; how many."""
        values = {"delivered": delivered, "dead": dead, "limit": limit}
        return int((await self.connection.execute(_EXPIRE, values)).rowcount)


def _claimed(row: Row, claim: str) -> ClaimedDelivery:
    return ClaimedDelivery(
        id=row["delivery_id"],
        claim=claim,
        webhook_id=row["webhook_id"],
        url=row["url"],
        sealed=bytes(row["secrets"]),
        owner=row["webhook_owner"],
        project=row["webhook_project"],
        reach=Reach(row["reach"]),
        projects=tuple(row["projects"]),
        overlap=bool(row["overlap"]),
        event=None if row["id"] is None else event_of(row),
        body=row["body"],
        subject=Subject(row["owner"], row["project"]),
        attempts=row["attempts"],
        age=row["age"],
    )


def _delivery(row: Row) -> Delivery:
    delivered = row["state"] == DeliveryState.DELIVERED.value
    return Delivery(
        id=row["id"],
        number=row["number"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        subject=row["lane"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        due_at=row["due_at"],
        created_at=row["created_at"],
        delivered_at=row["ended_at"] if delivered else None,
        log=tuple(Attempt.model_validate(each) for each in row["log"]),
    )
