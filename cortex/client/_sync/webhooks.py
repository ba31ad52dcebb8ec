"""The part of the blocking client that is about webhooks."""
# Made from _async/webhooks.py by `make format`; change that one.

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from cortex.client._routes import webhooks as routes
from cortex.client._sync.paging import every_entry
from cortex.client.transport import Transport
from cortex.domain.webhooks import Delivery, DeliveryState, JobFilter, Webhook
from cortex.schemas.webhooks import DeliveryPage, WebhookSecret


class WebhookCalls:
    """What `Cortex` can do with webhooks."""

    _transport: Transport

    def webhooks(
        self, owner: str | None = None, *, project: str | None = None
    ) -> tuple[Webhook, ...]:
        """One's own webhooks and those of one's projects, or of one; the newest first.

        For operators and admins everybody's.
        """
        return (self._transport.call(routes.webhooks(owner, project))).items

    def webhook(self, webhook_id: str) -> Webhook:
        """One webhook."""
        return self._transport.call(routes.webhook(webhook_id))

    def create_webhook(
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
        return self._transport.call(routes.create(fields, project))

    def update_webhook(
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
        return self._transport.call(routes.update(webhook_id, fields))

    def delete_webhook(self, webhook_id: str) -> None:
        """Take a webhook away, and all that waits for it."""
        return self._transport.call(routes.delete(webhook_id))

    def ping_webhook(self, webhook_id: str) -> Delivery:
        """Have a worker send a test, once; `webhook_delivery` tells what came of it."""
        return self._transport.call(routes.ping(webhook_id))

    def rotate_webhook_secret(self, webhook_id: str, overlap: str | None = None) -> WebhookSecret:
        """Make a new secret; the answer is the only place where it stands.

        Args:
            webhook_id: Which.
            overlap: How long the old secret signs as well, such as `24h`, which is the default.
        """
        return self._transport.call(routes.rotate(webhook_id, overlap))

    def webhook_deliveries(
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
        return self._transport.call(call)

    def iter_webhook_deliveries(
        self, webhook_id: str, *, states: Sequence[DeliveryState] = ()
    ) -> Iterator[Delivery]:
        """All of them, page by page."""
        pages = partial(routes.deliveries, webhook_id, states, 500)
        yield from every_entry(self._transport, pages)

    def webhook_delivery(self, webhook_id: str, delivery_id: str) -> Delivery:
        """One delivery."""
        return self._transport.call(routes.delivery(webhook_id, delivery_id))

    def redeliver_webhook(self, webhook_id: str, delivery_id: str | None = None) -> int:
        """Send again one delivery that has ended, or all dead ones; how many."""
        return (self._transport.call(routes.redeliver(webhook_id, delivery_id))).count
