"""Webhooks: where events are sent, and what became of each."""

from typing import Annotated

from fastapi import Depends, Path, Query
from pydantic import Field
from starlette.responses import Response

from api.access import Caller, SeenWebhooks, needs
from api.bodies import Body
from api.openapi import problems
from api.params import WHOLE, NumberCursor
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.domain.webhooks import Delivery, DeliveryState, Webhook
from cortex.schemas.webhooks import (
    DeliveryPage,
    Redeliver,
    Redelivered,
    RotateSecret,
    WebhookCreate,
    WebhookPage,
    WebhookSecret,
    WebhookUpdate,
)

router = api_router("webhooks")

WebhookId = Annotated[str, Path(description="Id of a webhook.")]
_SHOWN_ONCE = {"cache-control": "no-store"}


@router.get(
    "/webhooks",
    dependencies=[needs(Action.WEBHOOKS_READ)],
    response_model=WebhookPage,
    responses=problems(404),
)
async def list_webhooks(
    services: Using,
    by: Caller,
    projects: SeenWebhooks,
    owner: Annotated[str | None, Query(description="Only of this one.")] = None,
) -> Response:
    """One's own webhooks and those of one's projects, for operators and admins everybody's."""
    return answer(await services.webhooks.all(projects, owner, by))


@router.post(
    "/webhooks",
    dependencies=[needs(Action.WEBHOOKS_CHANGE)],
    status_code=201,
    response_model=WebhookSecret,
    responses=problems(404, 409),
)
async def create_webhook(
    body: Annotated[WebhookCreate, Depends(Body(WebhookCreate, "the webhook"))],
    services: Using,
    by: Caller,
    project: Annotated[
        str | None,
        Query(description="Which it belongs to, and whose events it gets; default: one's own."),
    ] = None,
) -> Response:
    """Make a webhook. It gets what happens from now on; its secret stands in this answer only."""
    made = await services.webhooks.create(body, by, project)
    location = {"location": f"/api/v1/webhooks/{made.info.id}"}
    return answer(made, status=201, headers={**_SHOWN_ONCE, **location})


@router.get(
    "/webhooks/{webhook_id}",
    dependencies=[needs(Action.WEBHOOKS_READ)],
    response_model=Webhook,
    responses=problems(404),
)
async def get_webhook(webhook_id: WebhookId, services: Using, by: Caller) -> Response:
    """One webhook: how it does, and how much waits for it."""
    return answer(await services.webhooks.get(webhook_id, by))


@router.patch(
    "/webhooks/{webhook_id}",
    dependencies=[needs(Action.WEBHOOKS_CHANGE)],
    response_model=Webhook,
    responses=problems(404),
)
async def update_webhook(
    webhook_id: WebhookId,
    body: Annotated[WebhookUpdate, Depends(Body(WebhookUpdate, "the change of the webhook"))],
    services: Using,
    by: Caller,
) -> Response:
    """Change a webhook, disable or enable it. What waits is sent as it is then."""
    return answer(await services.webhooks.update(webhook_id, body, by))


@router.delete(
    "/webhooks/{webhook_id}",
    dependencies=[needs(Action.WEBHOOKS_CHANGE)],
    status_code=204,
    responses=problems(404),
)
async def delete_webhook(webhook_id: WebhookId, services: Using, by: Caller) -> Response:
    """Take a webhook away, and all that waits for it."""
    await services.webhooks.remove(webhook_id, by)
    return Response(status_code=204)


@router.post(
    "/webhooks/{webhook_id}/ping",
    dependencies=[needs(Action.WEBHOOKS_CHANGE)],
    status_code=202,
    response_model=Delivery,
    responses=problems(404),
)
async def ping_webhook(webhook_id: WebhookId, services: Using, by: Caller) -> Response:
    """Have a worker send a test, once; ask for the delivery to see what came of it."""
    return answer(await services.deliveries.ping(webhook_id, by), status=202)


@router.post(
    "/webhooks/{webhook_id}/rotate-secret",
    dependencies=[needs(Action.WEBHOOKS_CHANGE)],
    response_model=WebhookSecret,
    responses=problems(404),
)
async def rotate_secret(
    webhook_id: WebhookId,
    body: Annotated[RotateSecret, Depends(Body(RotateSecret, "the rotation", optional=True))],
    services: Using,
    by: Caller,
) -> Response:
    """Make a new secret, which stands in this answer only; for a while the old one signs too."""
    made = await services.webhooks.rotate(webhook_id, body, by)
    return answer(made, headers=_SHOWN_ONCE)


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    dependencies=[needs(Action.WEBHOOKS_READ)],
    response_model=DeliveryPage,
    responses=problems(404),
)
async def list_deliveries(
    webhook_id: WebhookId,
    services: Using,
    by: Caller,
    state: Annotated[list[DeliveryState] | None, Query(description="Any of these.")] = None,
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 50,
    cursor: NumberCursor = None,
) -> Response:
    """What was sent, and what is to be: the newest first, each with its latest attempts."""
    page = await services.deliveries.page(webhook_id, state or (), by, cursor=cursor, limit=limit)
    return answer(page)


@router.get(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}",
    dependencies=[needs(Action.WEBHOOKS_READ)],
    response_model=Delivery,
    responses=problems(404),
)
async def get_delivery(
    webhook_id: WebhookId,
    delivery_id: Annotated[str, Path(description="Id of a delivery.")],
    services: Using,
    by: Caller,
) -> Response:
    """One delivery."""
    return answer(await services.deliveries.get(webhook_id, delivery_id, by))


@router.post(
    "/webhooks/{webhook_id}/redeliver",
    dependencies=[needs(Action.WEBHOOKS_CHANGE)],
    status_code=202,
    response_model=Redelivered,
    responses=problems(404, 409),
)
async def redeliver(
    webhook_id: WebhookId,
    body: Annotated[Redeliver, Depends(Body(Redeliver, "what is to be sent again", optional=True))],
    services: Using,
    by: Caller,
) -> Response:
    """Send one delivery again that has ended, or all that are dead; with the same `webhook-id`."""
    return answer(await services.deliveries.redeliver(webhook_id, body.delivery, by), status=202)
