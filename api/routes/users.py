"""Users: who has a name and a role here."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.conditions import IfMatch, IfNoneMatch, tagged
from api.openapi import UNCHANGED, changed, problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.accounts import User
from cortex.domain.rights import Action
from cortex.schemas.accounts import UserCreate, UserPage, UserUpdate
from cortex.schemas.auth import Invitation, InvitationRequest
from cortex.services.accounts.users import user_version

router = api_router("accounts")

Name = Annotated[str, Path(description="Name of a user.")]


@router.get(
    "/users",
    dependencies=[needs(Action.USERS_READ)],
    response_model=UserPage,
    responses=problems(),
)
async def list_users(services: Using) -> Response:
    """Every user, by name. Those who have their key in the settings are not among them."""
    return answer(await services.users.all())


@router.post(
    "/users",
    dependencies=[needs(Action.USERS_CHANGE)],
    status_code=201,
    response_model=User,
    responses=problems(409),
)
async def add_user(
    body: Annotated[UserCreate, Depends(Body(UserCreate, "the user"))], services: Using, by: Caller
) -> Response:
    """Add a person or a service. Keys are made for them with `POST /keys`."""
    user = await services.users.add(body, by)
    return answer(user, status=201, headers={"location": f"/api/v1/users/{user.name}"})


@router.get(
    "/users/{name}",
    dependencies=[needs(Action.USERS_READ)],
    response_model=User,
    responses={**problems(404), **UNCHANGED},
)
async def get_user(name: Name, services: Using, if_none_match: IfNoneMatch = None) -> Response:
    """One user."""
    user = await services.users.get(name)
    return tagged(user, user_version(user), if_none_match)


@router.patch(
    "/users/{name}",
    dependencies=[needs(Action.USERS_CHANGE)],
    response_model=User,
    responses={**problems(404, 412), **changed()},
)
async def update_user(
    name: Name,
    body: Annotated[UserUpdate, Depends(Body(UserUpdate, "the change of the user"))],
    services: Using,
    by: Caller,
    expected: IfMatch,
) -> Response:
    """Change the role or address, or switch a user off: it holds from the next request on."""
    user = await services.users.update(name, body, by, expected)
    services.authenticator.forget()
    return tagged(user, user_version(user))


@router.post(
    "/users/{name}/invitation",
    dependencies=[needs(Action.USERS_CHANGE)],
    status_code=201,
    response_model=Invitation,
    responses=problems(404, 409),
)
async def invite_user(
    name: Name,
    body: Annotated[
        InvitationRequest, Depends(Body(InvitationRequest, "the invitation", optional=True))
    ],
    services: Using,
    by: Caller,
) -> Response:
    """A token by which somebody sets their first password, or another one.

    It is sent to their address where the server has one and sends mail (`sent_to`), else it is
    shown, only here. It is used once, with `POST /auth/redeem`; earlier ones are void.
    """
    invitation = await services.invitations.invite(name, body, by)
    return answer(invitation, status=201, headers={"cache-control": "no-store"})


@router.delete(
    "/users/{name}/second-factor",
    dependencies=[needs(Action.USERS_CHANGE)],
    status_code=204,
    responses=problems(404),
)
async def reset_second_factor(name: Name, services: Using, by: Caller) -> Response:
    """Remove the second factor of somebody who has lost it. Harmless to repeat."""
    await services.second_factors.reset(name, by)
    return Response(status_code=204)
