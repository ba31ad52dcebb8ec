"""API keys: what programs send."""

from typing import Annotated

from fastapi import Depends, Path, Query
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.schemas.accounts import KeyCreate, KeyCreated, KeyPage

router = api_router("accounts")


@router.get(
    "/keys",
    dependencies=[needs(Action.KEYS_CHANGE)],
    response_model=KeyPage,
    responses=problems(),
)
async def list_keys(
    services: Using,
    by: Caller,
    user: Annotated[str | None, Query(description="Only of this user.")] = None,
) -> Response:
    """One's own keys, for admins everybody's; the newest first, revoked ones too."""
    return answer(await services.keys.all(user, by))


@router.post(
    "/keys",
    dependencies=[needs(Action.KEYS_CHANGE)],
    status_code=201,
    response_model=KeyCreated,
    responses=problems(404),
)
async def create_key(
    body: Annotated[KeyCreate, Depends(Body(KeyCreate, "the key"))], services: Using, by: Caller
) -> Response:
    """Make a key. Its text stands in this answer only; what is stored is a hash."""
    made = await services.keys.create(body, by)
    return answer(made, status=201, headers={"cache-control": "no-store"})


@router.delete(
    "/keys/{key_id}",
    dependencies=[needs(Action.KEYS_CHANGE)],
    status_code=204,
    responses=problems(404),
)
async def revoke_key(
    key_id: Annotated[str, Path(description="Id of a key.")], services: Using, by: Caller
) -> Response:
    """Revoke a key: it opens nothing from the next request on. Harmless to repeat."""
    await services.keys.revoke(key_id, by)
    services.authenticator.forget()
    return Response(status_code=204)
