"""One's second factor: enrolled, confirmed, disabled."""

from typing import Annotated, Final

from fastapi import Depends
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.domain.second_factor import SecondFactorState
from cortex.schemas.auth import CodeConfirmation, Enrolment, PasswordConfirmation, RecoveryCodes

router = api_router("auth")

_NO_STORE: Final = {"cache-control": "no-store"}


@router.get(
    "/auth/second-factor",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    response_model=SecondFactorState,
    responses=problems(),
)
async def second_factor(services: Using, by: Caller) -> Response:
    """Whether one has a second factor, and how many recovery codes are left."""
    return answer(await services.second_factors.state(by))


@router.post(
    "/auth/second-factor",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    status_code=201,
    response_model=Enrolment,
    responses=problems(409, 429),
)
async def enrol(
    body: Annotated[PasswordConfirmation, Depends(Body(PasswordConfirmation, "the password"))],
    services: Using,
    by: Caller,
) -> Response:
    """A secret for an app that shows codes (TOTP). Logins need it once it is confirmed."""
    enrolment = await services.second_factors.enrol(body.password, by)
    return answer(enrolment, status=201, headers=_NO_STORE)


@router.post(
    "/auth/second-factor/confirm",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    response_model=RecoveryCodes,
    responses=problems(409, 429),
)
async def confirm(
    body: Annotated[CodeConfirmation, Depends(Body(CodeConfirmation, "the code"))],
    services: Using,
    by: Caller,
) -> Response:
    """Show that the app has the secret. The answer has the recovery codes, only now."""
    return answer(await services.second_factors.confirm(body.code, by), headers=_NO_STORE)


@router.post(
    "/auth/second-factor/disable",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    status_code=204,
    responses=problems(409, 429),
)
async def disable(
    body: Annotated[PasswordConfirmation, Depends(Body(PasswordConfirmation, "the password"))],
    services: Using,
    by: Caller,
) -> Response:
    """Remove one's second factor; it needs the password. Harmless to repeat."""
    await services.second_factors.disable(body.password, by)
    return Response(status_code=204)
