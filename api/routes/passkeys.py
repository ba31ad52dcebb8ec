"""One's passkeys: registered, named, removed; and the challenge of a login with one."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.respond import answer
from api.routes.auth import NO_STORE
from api.routing import api_router
from api.services import Using
from cortex.domain.passkeys import Passkey
from cortex.domain.rights import Action
from cortex.schemas.auth import PasswordConfirmation
from cortex.schemas.passkeys import (
    PasskeyAdded,
    PasskeyCreate,
    PasskeyLogin,
    PasskeyOptions,
    PasskeyPage,
    PasskeyUpdate,
)

router = api_router("auth")

PasskeyId = Annotated[str, Path(description="Id of a passkey.")]


@router.get(
    "/auth/passkeys",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    response_model=PasskeyPage,
    responses=problems(),
)
async def list_passkeys(services: Using, by: Caller) -> Response:
    """One's own passkeys."""
    return answer(await services.passkeys.all(by))


@router.post(
    "/auth/passkeys/options",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    response_model=PasskeyOptions,
    responses=problems(409, 429),
)
async def begin(
    body: Annotated[PasswordConfirmation, Depends(Body(PasswordConfirmation, "the password"))],
    services: Using,
    by: Caller,
) -> Response:
    """What a browser needs to let a device make a passkey."""
    return answer(await services.passkeys.begin(body.password, by), headers=NO_STORE)


@router.post(
    "/auth/passkeys",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    status_code=201,
    response_model=PasskeyAdded,
    responses=problems(409),
)
async def add(
    body: Annotated[PasskeyCreate, Depends(Body(PasskeyCreate, "the passkey"))],
    services: Using,
    by: Caller,
) -> Response:
    """Register what the device has made: logins need it, or another second factor, from now on.

    With the first second factor the answer has recovery codes, only now.
    """
    return answer(await services.passkeys.add(body, by), status=201, headers=NO_STORE)


@router.patch(
    "/auth/passkeys/{passkey_id}",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    response_model=Passkey,
    responses=problems(404),
)
async def rename(
    passkey_id: PasskeyId,
    body: Annotated[PasskeyUpdate, Depends(Body(PasskeyUpdate, "the passkey's name"))],
    services: Using,
    by: Caller,
) -> Response:
    """Give a passkey another name."""
    return answer(await services.passkeys.rename(passkey_id, body.name, by))


@router.post(
    "/auth/passkeys/{passkey_id}/remove",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    status_code=204,
    responses=problems(404, 409, 429),
)
async def remove(
    passkey_id: PasskeyId,
    body: Annotated[PasswordConfirmation, Depends(Body(PasswordConfirmation, "the password"))],
    services: Using,
    by: Caller,
) -> Response:
    """Remove a passkey; it needs the password. Recovery codes go with the last second factor."""
    await services.passkeys.remove(passkey_id, body.password, by)
    return Response(status_code=204)


@router.post("/auth/login/passkey", response_model=PasskeyOptions, responses=problems(409, 429))
async def begin_login(
    body: Annotated[PasskeyLogin, Depends(Body(PasskeyLogin, "the login"))],
    services: Using,
    by: Caller,
) -> Response:
    """What a browser needs to log in with a passkey beside the password.

    What the device answers goes with name and password to `POST /auth/login`, as `passkey`.
    """
    return answer(await services.passkeys.begin_login(body, by), headers=NO_STORE)
