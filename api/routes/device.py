"""Logging in a program by a browser elsewhere: what the program asks, and the pages.

The pages are plain HTML. Each of their forms sends back what only a page of ours can know, which
is derived from a cookie that no other page can read or set; and the browser must say that it comes
from this server.
"""

import hmac
import secrets
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Path, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.access import Caller
from api.bodies import Body
from api.browser import base_url, device_cookie, login_cookie, redirect_uri
from api.login_pages import (
    DEVICE_PAGE,
    code_page,
    confirm_page,
    done_page,
    login_page,
    passkey_page,
)
from api.openapi import problems
from api.respond import answer
from api.routes.auth import NO_STORE, UserAgent
from api.routing import api_router
from api.services import Services, Using
from cortex.db.engine import Transaction
from cortex.domain.accounts import User, check_user_name
from cortex.domain.device import form_token
from cortex.domain.errors import Conflict, InvalidRequest
from cortex.domain.login_errors import FormRefused, LoginRefused, SecondFactorNeeded
from cortex.domain.rights import Principal
from cortex.domain.sso import SSO_NAME
from cortex.schemas.auth import LoggedIn, LoginRequest
from cortex.schemas.credentials import PasskeyAssertion
from cortex.schemas.passkeys import PasskeyLogin, PasskeyOptions
from cortex.schemas.sso import DeviceLoginRequest, DeviceLoginStarted, DeviceTokenRequest
from cortex.services.accounts.sso import LIFETIME

router = api_router("auth")

_KEPT_SECONDS: Final = 1800
_MOST_FIELDS: Final = 20

UserCode = Annotated[str, Query(max_length=40)]


@router.post("/auth/device/start", response_model=DeviceLoginStarted, responses=problems())
async def start(
    body: Annotated[DeviceLoginRequest, Depends(Body(DeviceLoginRequest, "the program"))],
    request: Request,
    services: Using,
    by: Caller,
) -> Response:
    """Begin to log in a program by a browser, which may be on another machine (RFC 8628).

    The program shows `user_code` and `verification_uri`, and asks `POST /auth/device/token` until
    its user has approved it.
    """
    page = f"{base_url(request, services)}{DEVICE_PAGE}"
    return answer(await services.devices.start(body.client, page, by), headers=NO_STORE)


@router.post("/auth/device/token", response_model=LoggedIn, responses=problems())
async def token(
    body: Annotated[DeviceTokenRequest, Depends(Body(DeviceTokenRequest, "the device code"))],
    services: Using,
    by: Caller,
    user_agent: UserAgent = "",
) -> Response:
    """The session of a program whose user has approved it, once.

    Until then it is a `400` whose code is `authorization_pending` (ask again after the interval),
    `slow_down` (the interval is 5 s longer now), `access_denied` or `expired_token`.
    """
    return answer(await services.devices.taken(body.device_code, by, user_agent), headers=NO_STORE)


@router.get("/auth/device", include_in_schema=False)
async def show(
    request: Request,
    services: Using,
    by: Caller,
    user_code: UserCode = "",
    service: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Where a user types the code, and logs in."""
    if not user_code:
        return code_page()
    login = await services.devices.look(user_code, by)
    offered = services.sso.offered().items
    chosen = tuple(each for each in offered if each.name == service) or offered
    kept = device_cookie(base_url(request, services))
    secret = kept.read(request) or secrets.token_urlsafe(32)
    response = login_page(login, chosen, secret)
    kept.keep(response, secret, seconds=_KEPT_SECONDS)
    return response


@router.post("/auth/device/login", include_in_schema=False)
async def log_in(request: Request, services: Using, by: Caller) -> Response:
    """A user logs in for a program by password."""
    sent, secret = await _sent(request, services)
    login = await services.devices.look(sent.get("user_code", ""), by)

    async def named(tx: Transaction, user: User) -> None:
        await services.devices.name(tx, login.id, user, "password", secret)

    wanted = _wanted(sent)
    try:
        await services.logins.identified(wanted, by, named)
    except SecondFactorNeeded as error:
        options = None if wanted.code else await _options(wanted, services, by)
        if options is None:
            raise error
        return passkey_page(login, wanted.name, options, secret)
    return confirm_page(await services.devices.named(login.id), secret)


@router.post("/auth/device/passkey", include_in_schema=False)
async def use_passkey(request: Request, services: Using, by: Caller) -> Response:
    """A user whose password was right shows their passkey."""
    sent, secret = await _sent(request, services)
    login = await services.devices.look(sent.get("user_code", ""), by)
    try:
        credential = PasskeyAssertion.model_validate_json(sent.get("credential", ""))
        name = check_user_name(sent.get("name", ""))
    except ValueError:
        raise FormRefused("no passkey was used; this page needs scripts, and a device") from None

    async def named(tx: Transaction, user: User) -> None:
        await services.devices.name(tx, login.id, user, "passkey", secret)

    await services.logins.by_passkey(name, credential, by, named)
    return confirm_page(await services.devices.named(login.id), secret)


@router.get("/auth/device/sso/{name}", include_in_schema=False)
async def log_in_elsewhere(
    name: Annotated[str, Path(pattern=SSO_NAME)],
    request: Request,
    services: Using,
    by: Caller,
    user_code: UserCode,
) -> Response:
    """A user logs in for a program by another service."""
    login = await services.devices.look(user_code, by)
    base = base_url(request, services)
    departure = await services.sso.start(name, redirect_uri(base, name), by, device_id=login.id)
    response = RedirectResponse(departure.url, 303, headers=NO_STORE)
    kept = login_cookie(departure.state, base)
    kept.keep(response, departure.browser_secret, seconds=int(LIFETIME.total_seconds()))
    return response


@router.post("/auth/device/confirm", include_in_schema=False)
async def confirm(request: Request, services: Using, by: Caller) -> Response:
    """A user who has logged in for a program lets it in, or does not."""
    sent, secret = await _sent(request, services)
    decision = sent.get("decision")
    if decision not in ("approve", "deny"):
        raise InvalidRequest("approve the program, or deny it")
    approve = decision == "approve"
    await services.devices.decide(sent.get("user_code", ""), secret, by, approve=approve)
    return done_page(approved=approve)


async def _sent(request: Request, services: Services) -> tuple[dict[str, str], str]:
    """What a form of ours has sent, and what the browser keeps.

    Raises:
        FormRefused: it comes from another page, or the browser keeps no cookies.
    """
    base = base_url(request, services)
    secret = device_cookie(base).read(request)
    text = (await request.body()).decode(errors="replace")
    sent = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    token = sent.get("form", "")
    right = secret and hmac.compare_digest(token.encode(), form_token(secret).encode())
    if not _from_here(request, base) or not right:
        raise FormRefused("this form is not one of ours, or too old; open the page anew")
    return sent, secret


def _from_here(request: Request, base: str) -> bool:
    """Whether a browser says that it shows a page of ours; each says it one way or the other."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site") == "same-origin"
    return origin == base


def _wanted(sent: dict[str, str]) -> LoginRequest:
    """Name, password and code as they were typed; what cannot be right is refused like wrong."""
    name = sent.get("name", "").strip()
    try:
        return LoginRequest(
            name=name, password=sent.get("password", ""), code=sent.get("code", "").strip() or None
        )
    except ValidationError:
        raise LoginRefused("the name or the password is wrong", name=name[:63]) from None


async def _options(
    wanted: LoginRequest, services: Services, by: Principal
) -> PasskeyOptions | None:
    """What the browser needs to ask for a passkey; None: the user has none."""
    try:
        return await services.passkeys.begin_login(
            PasskeyLogin(name=wanted.name, password=wanted.password), by
        )
    except Conflict:
        return None
