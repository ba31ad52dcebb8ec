"""The routes about webhooks: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cortex.client._routes.call import V1, Call, get, query, send
from cortex.client.encoding import quoted
from cortex.domain.webhooks import Delivery, DeliveryState, Webhook
from cortex.schemas.webhooks import DeliveryPage, Redelivered, WebhookPage, WebhookSecret


def webhooks(owner: str | None, project: str | None) -> Call[WebhookPage]:
    return get("/webhooks", WebhookPage, query(owner=owner, project=project))


def webhook(webhook_id: str) -> Call[Webhook]:
    return get(_webhook(webhook_id), Webhook)


def create(fields: Mapping[str, Any], project: str | None) -> Call[WebhookSecret]:
    call = send("POST", "/webhooks", WebhookSecret, _given(fields), repeatable=False)
    return replace(call, params=query(project=project))


def update(webhook_id: str, fields: Mapping[str, Any]) -> Call[Webhook]:
    return send("PATCH", _webhook(webhook_id), Webhook, _given(fields))


def delete(webhook_id: str) -> Call[None]:
    return Call("DELETE", V1 + _webhook(webhook_id), lambda _: None)


def ping(webhook_id: str) -> Call[Delivery]:
    path = f"{_webhook(webhook_id)}/ping"
    return send("POST", path, Delivery, {}, repeatable=False)


def rotate(webhook_id: str, overlap: str | None) -> Call[WebhookSecret]:
    path, body = f"{_webhook(webhook_id)}/rotate-secret", _given({"overlap": overlap})
    return send("POST", path, WebhookSecret, body, repeatable=False)


def deliveries(
    webhook_id: str, states: Sequence[DeliveryState], limit: int, cursor: str | None
) -> Call[DeliveryPage]:
    chosen = tuple(("state", state.value) for state in states)
    params = (*chosen, *query(limit=limit, cursor=cursor))
    return get(f"{_webhook(webhook_id)}/deliveries", DeliveryPage, params)


def delivery(webhook_id: str, delivery_id: str) -> Call[Delivery]:
    return get(f"{_webhook(webhook_id)}/deliveries/{quoted(delivery_id, safe='')}", Delivery)


def redeliver(webhook_id: str, delivery_id: str | None) -> Call[Redelivered]:
    path, body = f"{_webhook(webhook_id)}/redeliver", _given({"delivery": delivery_id})
    return send("POST", path, Redelivered, body, repeatable=False)


def _webhook(webhook_id: str) -> str:
    return f"/webhooks/{quoted(webhook_id, safe='')}"


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
