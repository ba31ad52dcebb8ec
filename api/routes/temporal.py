"""The codec endpoint: lets Temporal's Web UI and command show payloads that are encrypted."""

from typing import Annotated

from fastapi import Depends
from starlette.responses import Response

from api.access import needs
from api.bodies import Body
from api.openapi import problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.schemas.temporal import PayloadsJson

router = api_router("server")

Sent = Annotated[PayloadsJson, Depends(Body(PayloadsJson, "the list of payloads"))]


@router.post(
    "/temporal/codec/decode",
    dependencies=[needs(Action.TEMPORAL_DECODE)],
    response_model=PayloadsJson,
    responses=problems(),
)
async def decode_payloads(body: Sent, services: Using) -> Response:
    """Payloads in clear. Those that cannot be opened come back as they are."""
    return answer(await services.payloads.decoded(body))


@router.post(
    "/temporal/codec/encode",
    dependencies=[needs(Action.TEMPORAL_ENCODE)],
    response_model=PayloadsJson,
    responses=problems(),
)
async def encode_payloads(body: Sent, services: Using) -> Response:
    """Payloads as Cortex itself would send them: encrypted, if the settings say so."""
    return answer(await services.payloads.encoded(body))
