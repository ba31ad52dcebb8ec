"""What was sent to webhooks: shown, tried out, sent again."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cortex.db.engine import Database
from cortex.domain.errors import Conflict
from cortex.domain.rights import Principal
from cortex.domain.webhooks import Delivery, DeliveryState
from cortex.schemas.webhooks import DeliveryPage, Redelivered
from cortex.services.pagination import decode_number
from cortex.services.webhooks.webhooks import locked, seen


class WebhookDeliveries:
    """Shows deliveries, and has them sent; workers do it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        webhook_id: str,
        states: Sequence[DeliveryState],
        by: Principal,
        *,
        cursor: str | None,
        limit: int,
    ) -> DeliveryPage:
        """Deliveries of a webhook, the newest first.

        Raises:
            NotFound: there is no such webhook, or `by` may not see it.
            InvalidRequest: the cursor is none of ours.
        """
        before = decode_number(cursor)
        async with self._database.reading() as tx:
            await seen(tx, webhook_id, by)
            there = await tx.deliveries.page(webhook_id, states, before=before, limit=limit + 1)
        items = there[:limit]
        more = len(there) > limit
        return DeliveryPage(items=tuple(items), next_cursor=str(items[-1].number) if more else None)

    async def get(self, webhook_id: str, delivery_id: str, by: Principal) -> Delivery:
        """One delivery.

        Raises:
            NotFound: there is no such webhook or delivery, or `by` may not see it.
        """
        async with self._database.reading() as tx:
            await seen(tx, webhook_id, by)
            return await tx.deliveries.get(webhook_id, delivery_id)

    async def ping(self, webhook_id: str, by: Principal) -> Delivery:
        """Send something that is no event, once, also to a webhook that is disabled.

        Raises:
            NotFound: there is no such webhook, or `by` may not see it.
        """
        async with self._database.transaction() as tx:
            await locked(tx, webhook_id, by)
            delivery_id = await tx.deliveries.add_ping(webhook_id, datetime.now(UTC))
            await tx.webhooks.wake()
            await tx.audit.add(by, "webhook.ping", webhook_id, delivery=delivery_id)
            return await tx.deliveries.get(webhook_id, delivery_id)

    async def redeliver(
        self, webhook_id: str, delivery_id: str | None, by: Principal
    ) -> Redelivered:
        """Send again one delivery that has ended, or all dead ones, in their order.

        Raises:
            NotFound: there is no such webhook or delivery, or `by` may not see it.
            Conflict: the delivery has not ended, or is a ping.
        """
        async with self._database.transaction() as tx:
            await locked(tx, webhook_id, by)
            if delivery_id is not None:
                _check(await tx.deliveries.get(webhook_id, delivery_id))
            count = await tx.deliveries.redeliver(webhook_id, delivery_id)
            if count:
                await tx.webhooks.wake()
                await tx.audit.add(
                    by, "webhook.redeliver", webhook_id, count=count, delivery=delivery_id
                )
            return Redelivered(count=count)


def _check(delivery: Delivery) -> None:
    if delivery.event_id is None:
        raise Conflict(f"`{delivery.id}` is a ping; send another one instead")
    if delivery.state is DeliveryState.PENDING:
        raise Conflict(f"`{delivery.id}` has not ended: it is sent again by itself")
