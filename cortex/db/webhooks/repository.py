"""Webhooks: made, changed, shown, taken away."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, delete, func, insert, select, text, update

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.webhooks import WebhookDeliveryRow, WebhookRow
from cortex.domain.errors import NotFound
from cortex.domain.rights import Reach
from cortex.domain.webhooks import DeliveryState, JobFilter, Webhook

CHANNEL: Final = "cortex_webhooks"
"""Told when webhooks were changed by hand, or something is to be sent at once."""

# By the partial indexes of either state.
_COUNTS: Final = {
    name: select(func.count())
    .where(WebhookDeliveryRow.webhook_id == WebhookRow.id, WebhookDeliveryRow.state == state.value)
    .scalar_subquery()
    .label(name)
    for name, state in (("waiting", DeliveryState.PENDING), ("dead", DeliveryState.DEAD))
}

# Those who may less now: nothing of others is for them any more, or nothing at all.
_NARROW: Final = text("""
UPDATE webhooks SET reach = :reach, enabled = enabled AND :allowed, updated_at = now(),
    disabled_reason = CASE WHEN enabled AND NOT :allowed THEN :reason ELSE disabled_reason END
WHERE id IN (SELECT id FROM webhooks
        WHERE owner = :owner AND project = owner ORDER BY id FOR NO KEY UPDATE)
    AND (reach <> :reach OR (enabled AND NOT :allowed))
RETURNING id, enabled
""")


_LOCK_OF: Final = text("""
SELECT id FROM webhooks WHERE owner = :name OR vouched_by = :name ORDER BY id FOR NO KEY UPDATE
""")

# Who has left a project has perhaps said where its webhooks lead.
_DISOWN: Final = text("""
UPDATE webhooks SET enabled = false, disabled_reason = :reason, updated_at = now()
WHERE enabled AND id IN (SELECT id FROM webhooks
    WHERE coalesce(vouched_by, owner) = :name AND project <> ALL(:projects)
    ORDER BY id FOR NO KEY UPDATE)
RETURNING id
""")


@dataclass(frozen=True)
class NewWebhook:
    """A webhook that is to be stored; `sealed` are its secrets, encrypted."""

    id: str
    owner: str
    project: str
    reach: Reach
    description: str
    url: str
    sealed: bytes
    headers: Sequence[str]
    events: Sequence[str]
    jobs: JobFilter
    enabled: bool


@dataclass(frozen=True)
class StoredWebhook:
    """A webhook with what is not shown of it."""

    shown: Webhook
    reach: Reach
    sealed: bytes


class WebhookRepository(Repository[Access]):
    async def add(self: "WebhookRepository[Writes]", made: NewWebhook, position: str) -> None:
        """Store a webhook that gets what happens after a position."""
        tx, _, seq = position.partition("-")
        await self.connection.execute(
            insert(WebhookRow).values(
                id=made.id,
                owner=made.owner,
                vouched_by=made.owner,
                project=made.project,
                reach=made.reach.value,
                description=made.description,
                url=made.url,
                secrets=made.sealed,
                headers=list(made.headers),
                events=list(made.events),
                jobs=made.jobs.model_dump(exclude_defaults=True),
                enabled=made.enabled,
                tx=int(tx),
                seq=int(seq),
            )
        )

    async def all(self, owner: str | None, projects: frozenset[str] | None) -> list[Webhook]:
        """The webhooks of an owner, or of all, in these projects (None: in all); newest first."""
        query = _query().order_by(WebhookRow.id.desc())
        if projects is not None:
            query = query.where(WebhookRow.project.in_(projects))
        if owner is not None:
            query = query.where(WebhookRow.owner == owner)
        rows = (await self.connection.execute(query)).mappings()
        return [_stored(row).shown for row in rows]

    async def get(self, webhook_id: str) -> StoredWebhook:
        """One webhook.

        Raises:
            NotFound: there is none with this id.
        """
        query = _query().where(WebhookRow.id == webhook_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise no_webhook(webhook_id)
        return _stored(row)

    async def lock(self: "WebhookRepository[Transacts]", webhook_id: str) -> StoredWebhook:
        """One webhook, which nobody else changes or sends to until the transaction ends.

        Raises:
            NotFound: there is none with this id.
        """
        query = (
            select(WebhookRow.id).where(WebhookRow.id == webhook_id).with_for_update(key_share=True)
        )
        if (await self.connection.execute(query)).first() is None:
            raise no_webhook(webhook_id)
        return await self.get(webhook_id)

    async def lock_owner(self: "WebhookRepository[Transacts]", owner: str) -> int:
        """How many webhooks an owner has; nobody else adds one until the transaction ends."""
        lock = select(func.pg_advisory_xact_lock(func.hashtext(f"webhooks of {owner}")))
        await self.connection.execute(lock)
        query = select(func.count()).where(WebhookRow.owner == owner)
        return int((await self.connection.execute(query)).scalar_one())

    async def change(
        self: "WebhookRepository[Writes]",
        webhook_id: str,
        *,
        description: str,
        url: str,
        events: Sequence[str],
        jobs: JobFilter,
        enabled: bool,
        vouched_by: str | None,
    ) -> None:
        """What its owner decides on. One that is enabled begins with a clean record.

        `vouched_by`: who says from now on that its URL may get the events; None: who did before.
        """
        values: dict[str, Any] = {
            "description": description,
            "url": url,
            "events": list(events),
            "jobs": jobs.model_dump(exclude_defaults=True),
            "enabled": enabled,
            "updated_at": NOW,
        }
        if vouched_by is not None:
            values["vouched_by"] = vouched_by
        if enabled:
            values |= {"disabled_reason": "", "failing_since": None, "failures": 0}
        await self.connection.execute(
            update(WebhookRow).where(WebhookRow.id == webhook_id).values(values)
        )

    async def put_secrets(
        self: "WebhookRepository[Writes]",
        webhook_id: str,
        sealed: bytes,
        headers: Sequence[str],
        previous_until: datetime | None,
    ) -> None:
        """Its secrets, encrypted, and what is shown of them."""
        await self.connection.execute(
            update(WebhookRow)
            .where(WebhookRow.id == webhook_id)
            .values(
                secrets=sealed,
                headers=list(headers),
                previous_until=previous_until,
                updated_at=NOW,
            )
        )

    async def jump(self: "WebhookRepository[Writes]", webhook_id: str, position: str) -> None:
        """Let it get only what happens after a position."""
        tx, _, seq = position.partition("-")
        await self.connection.execute(
            update(WebhookRow).where(WebhookRow.id == webhook_id).values(tx=int(tx), seq=int(seq))
        )

    async def disable(self: "WebhookRepository[Writes]", webhook_id: str, reason: str) -> bool:
        """Send nothing to it any more until somebody enables it; False: it was disabled already."""
        statement = (
            update(WebhookRow)
            .where(WebhookRow.id == webhook_id, WebhookRow.enabled)
            .values(enabled=False, disabled_reason=reason, updated_at=NOW)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def lock_of(self: "WebhookRepository[Transacts]", name: str) -> None:
        """Lock all that somebody owns or vouches for, in the order in which events are handed out.

        Whoever changes both kinds does it first: one after the other they would deadlock.
        """
        await self.connection.execute(_LOCK_OF, {"name": name})

    async def narrow(
        self: "WebhookRepository[Writes]", owner: str, reach: Reach | None, reason: str
    ) -> list[str]:
        """An owner may do something else now: their webhooks get no more than they may see.

        Args:
            owner: Whose they are.
            reach: On whose things; None: on nobody's, so that they are disabled.
            reason: Why, in the latter case.

        Returns the ids of those that were changed.
        """
        values = {
            "owner": owner,
            "reach": (reach or Reach.OWN).value,
            "allowed": reach is not None,
            "reason": reason,
        }
        return [row.id for row in await self.connection.execute(_NARROW, values)]

    async def disown(
        self: "WebhookRepository[Writes]", name: str, projects: frozenset[str], reason: str
    ) -> list[str]:
        """Disable the webhooks of other projects than these for which somebody vouches; their ids.

        Until somebody who may enables them, and vouches from then on.
        """
        values = {"name": name, "projects": sorted(projects), "reason": reason}
        return [row.id for row in await self.connection.execute(_DISOWN, values)]

    async def remove(self: "WebhookRepository[Writes]", webhook_id: str) -> None:
        """Take it away with all its deliveries."""
        await self.connection.execute(delete(WebhookRow).where(WebhookRow.id == webhook_id))

    async def wake(self: "WebhookRepository[Writes]") -> None:
        """Something is to be sent at once."""
        await self.connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


def no_webhook(webhook_id: str) -> NotFound:
    return NotFound(f"there is no webhook `{webhook_id[:60]}`")


def _query() -> Select[Any]:
    return select(WebhookRow.__table__, *_COUNTS.values())


def _stored(row: Row) -> StoredWebhook:
    shown = {name: row[name] for name in Webhook.model_fields}
    return StoredWebhook(Webhook.model_validate(shown), Reach(row["reach"]), bytes(row["secrets"]))
