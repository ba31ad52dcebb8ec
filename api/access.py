"""What a route needs: every route of the API names its action here."""

from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request

from api.middleware import PRINCIPAL
from cortex.domain.rights import Action, Principal


class Needs:
    """Lets a request through whose principal may do this."""

    def __init__(self, action: Action) -> None:
        self.action = action

    async def __call__(self, request: Request) -> None:
        principal_of(request).require(self.action)


def needs(action: Action) -> Any:
    """For `dependencies=[...]` of a route.

    Where the role reaches only to own things, the service checks the owner.
    """
    return Depends(Needs(action))


def principal_of(request: Request) -> Principal:
    """Who asks."""
    principal: Principal = request.scope["state"][PRINCIPAL]
    return principal


async def _caller(request: Request) -> Principal:
    return principal_of(request)


Caller = Annotated[Principal, Depends(_caller)]
"""Who asks, as a parameter of a route."""
