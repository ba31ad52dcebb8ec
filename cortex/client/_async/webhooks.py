"""The part of the asynchronous client that is about webhooks."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from cortex.client._async.paging import every_entry
from cortex.client._routes import webhooks as routes
from cortex.client.transport import AsyncTransport
from cortex.domain.webhooks import Delivery, DeliveryState, JobFilter, Webhook
from cortex.schemas.webhooks import DeliveryPage, WebhookSecret


class AsyncWebhookCalls:
    """What `AsyncCortex` can do with webhooks."""

    _transport: AsyncTransport

    async def webhooks(
        self, owner: str | None = None, *, project: str | None = None
    ) -> tuple[Webhook, ...]:
        """One's own webhooks and those of one's projects, or of one; the newest first.

        For operators and admins everybody's.
        """
        return (await self._transport.call(routes.webhooks(owner, project))).items

    async def webhook(self, webhook_id: str) -> Webhook:
        """One webhook."""
        return await self._transport.call(routes.webhook(webhook_id))

    async def create_webhook(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        jobs: JobFilter | None = None,
        headers: Mapping[str, str] | None = None,
        description: str | None = None,
        enabled: bool = True,
        project: str | None = None,
    ) -> WebhookSecret:
        """Make a webhook; the answer is the only place where its secret stands.

        Args:
            url: Where events are sent.
            events: Types, such as `job.state.changed`, `job.*`; None: all.
            jobs: Only events of these.
            headers: Sent along; their values are nowhere to be had again.
            description: What it is for.
            enabled: Whether events are sent from now on.
            project: Which it belongs to, and whose events it gets; None: it is one's own.
        """
        fields = {
            "url": url,
            "events": None if events is None else list(events),
            "jobs": None if jobs is None else jobs.model_dump(),
            "headers": None if headers is None else dict(headers),
            "description": description,
            "enabled": enabled,
        }
        return await self._transport.call(routes.create(fields, project))

    async def update_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        jobs: JobFilter | None = None,
        headers: Mapping[str, str | None] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        skip_missed: bool = False,
    ) -> Webhook:
        """Change a webhook; what is None stays as it is.

        Args:
            webhook_id: Which.
            url: Where events are sent.
            events: Types, all anew.
            jobs: Only events of these.
            headers: A value sets a header, None takes it away; the others stay.
            description: What it is for.
            enabled: Whether events are sent.
            skip_missed: Forget what happened while it was disabled.
        """
        fields = {
            "url": url,
            "events": None if events is None else list(events),
            "jobs": None if jobs is None else jobs.model_dump(),
            "headers": None if headers is None else dict(headers),
            "description": description,
            "enabled": enabled,
            "skip_missed": skip_missed,
        }
        return await self._transport.call(routes.update(webhook_id, fields))

    async def delete_webhook(self, webhook_id: str) -> None:
        """Take a webhook away, and all that waits for it."""
        return await self._transport.call(routes.delete(webhook_id))

    async def ping_webhook(self, webhook_id: str) -> Delivery:
        """Have a worker send a test, once; `webhook_delivery` tells what came of it."""
        return await self._transport.call(routes.ping(webhook_id))

    async def rotate_webhook_secret(
        self, webhook_id: str, overlap: str | None = None
    ) -> WebhookSecret:
        """Make a new secret; the answer is the only place where it stands.

        Args:
            webhook_id: Which.
            overlap: How long the old secret signs as well, such as `24h`, which is the default.
        """
        return await self._transport.call(routes.rotate(webhook_id, overlap))

    async def webhook_deliveries(
        self,
        webhook_id: str,
        *,
        states: Sequence[DeliveryState] = (),
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """One page of what was sent and is to be, the newest first.

        Args:
            webhook_id: Of which webhook.
            states: Only in these; none: all.
            limit: At most so many.
            cursor: `next_cursor` of the page before.
        """
        call = routes.deliveries(webhook_id, states, limit, cursor)
        return await self._transport.call(call)

    async def iter_webhook_deliveries(
        self, webhook_id: str, *, states: Sequence[DeliveryState] = ()
    ) -> AsyncIterator[Delivery]:
        """All of them, page by page."""
        pages = partial(routes.deliveries, webhook_id, states, 500)
        async for delivery in every_entry(self._transport, pages):
            yield delivery

    async def webhook_delivery(self, webhook_id: str, delivery_id: str) -> Delivery:
        """One delivery."""
        return await self._transport.call(routes.delivery(webhook_id, delivery_id))

    async def redeliver_webhook(self, webhook_id: str, delivery_id: str | None = None) -> int:
        """Send again one delivery that has ended, or all dead ones; how many."""
        return (await self._transport.call(routes.redeliver(webhook_id, delivery_id))).count
