"""Secrets: with which keys they are encrypted, and their rotation."""

from starlette.responses import Response

from api.access import Caller, needs
from api.openapi import problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.schemas.secrets import RotationView

router = api_router("secrets")


@router.get(
    "/secrets/rotation",
    dependencies=[needs(Action.SECRETS_READ)],
    response_model=RotationView,
    responses=problems(),
)
async def rotation(services: Using) -> Response:
    """With which keys secrets are encrypted, and how many are still under an older one."""
    return answer(await services.secrets.rotation())


@router.post(
    "/secrets/rotation",
    dependencies=[needs(Action.SECRETS_ROTATE)],
    status_code=202,
    response_model=RotationView,
    responses=problems(),
)
async def rotate(services: Using, by: Caller) -> Response:
    """Encrypt with the newest key what is under an older one; workers do it, ask how far they are.

    Harmless to repeat. They do it by themselves every hour as well.
    """
    return answer(await services.secrets.rotate(by), status=202)
