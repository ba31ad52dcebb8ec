"""Logging in by another service (OpenID Connect), with a browser."""

from typing import Annotated

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.access import Caller
from api.browser import base_url, device_cookie, login_cookie, redirect_uri
from api.login_pages import confirm_page
from api.openapi import problems
from api.respond import answer
from api.routes.auth import NO_STORE, UserAgent
from api.routing import api_router
from api.services import Services, Using
from cortex.db.engine import Transaction
from cortex.domain.accounts import User
from cortex.domain.rights import Principal
from cortex.domain.sso import SSO_NAME
from cortex.schemas.auth import LoggedIn
from cortex.schemas.sso import SsoProviderPage
from cortex.services.accounts.sso import LIFETIME, Known, Return

router = api_router("auth")

Name = Annotated[str, Path(description="Of a service.", pattern=SSO_NAME)]
State = Annotated[str, Query(min_length=1, max_length=200)]
Word = Annotated[str | None, Query(max_length=4000)]


@router.get("/auth/oidc", response_model=SsoProviderPage, responses=problems())
async def list_services(services: Using) -> Response:
    """The services by which one can log in."""
    return answer(services.sso.offered())


@router.get(
    "/auth/oidc/{name}/start",
    status_code=303,
    response_class=RedirectResponse,
    responses=problems(404),
)
async def start(name: Name, request: Request, services: Using, by: Caller) -> Response:
    """Send a browser to a service; it comes back to `/auth/oidc/{name}/callback` within minutes."""
    base = base_url(request, services)
    departure = await services.sso.start(name, redirect_uri(base, name), by)
    response = RedirectResponse(departure.url, 303, headers=NO_STORE)
    kept = login_cookie(departure.state, base)
    kept.keep(response, departure.browser_secret, seconds=int(LIFETIME.total_seconds()))
    return response


@router.get("/auth/oidc/{name}/callback", response_model=LoggedIn, responses=problems(404))
async def callback(
    name: Name,
    request: Request,
    services: Using,
    by: Caller,
    state: State,
    code: Word = None,
    iss: Word = None,
    error: Word = None,
    error_description: Word = None,
    user_agent: UserAgent = "",
) -> Response:
    """Where a service sends the browser back to: opens a session, as a login by password does.

    It works once, and only in the browser that was sent away. Of a login for a program (`POST
    /auth/device/start`) it shows the page that asks whether to let that in.
    """
    base = base_url(request, services)
    kept = login_cookie(state, base)
    back = Return(state, kept.read(request), code, iss, error, error_description)
    known = await services.sso.returned(name, back, redirect_uri(base, name), by)
    if known.device_id is not None:
        response = await _for_a_program(known, known.device_id, request, services, by)
    else:
        logged_in, changed = await services.sso.logged_in(known, by, user_agent)
        if changed:
            services.authenticator.forget()
        response = answer(logged_in, headers=NO_STORE)
    kept.drop(response)
    return response


async def _for_a_program(
    known: Known, device_id: str, request: Request, services: Services, by: Principal
) -> Response:
    """Ask whether the program may that the login is for."""
    secret = device_cookie(base_url(request, services)).read(request)
    via = f"oidc:{known.service}"

    async def named(tx: Transaction, user: User) -> None:
        await services.devices.name(tx, device_id, user, via, secret)

    _, changed = await services.sso.settled(known, by, named)
    if changed:
        services.authenticator.forget()
    return confirm_page(await services.devices.named(device_id), secret)
