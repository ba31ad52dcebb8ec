"""What every request passes, from the outside in: context and authentication.

All are plain ASGI: nothing is wrapped that does not need it.
"""

import base64
import contextlib
import ipaddress
import re
import secrets
import time
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response
from cortex.domain.accounts import is_key
from cortex.domain.errors import (
    Forbidden,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
)
from cortex.domain.login_errors import LoginRefused
from cortex.domain.rights import LOCAL_ADMIN, Principal, Role
from cortex.domain.sessions import is_access_token
from cortex.services.accounts.authentication import Authenticator, SettingsKeys
from cortex.services.audit.denials import Attempt
from cortex.settings import ApiSettings

REQUESTS: Final = ("http", "websocket")
ANSWERS: Final = ("http.response.start", "websocket.http.response.start", "websocket.accept")
API_PREFIX: Final = "/api/"
GRAPHQL: Final = "/graphql"
"""Where the same is answered in GraphQL. To look at it (GET) gives a page that knows nothing."""
PUBLIC_PATHS: Final = frozenset(
    f"/api/v1/auth/{name}"
    for name in (
        *("jwks", "login", "login/passkey", "redeem", "refresh", "unsubscribe"),
        *("oidc", "oidc/{name}/start", "oidc/{name}/callback"),
        *("device", "device/start", "device/token"),
        *("device/login", "device/passkey", "device/sso/{name}", "device/confirm"),
    )
)
"""Where nobody can say yet who asks. All other routes of the API name their action."""
PRINCIPAL: Final = "principal"
"""Where in the state of a request who asks is kept."""
AGAIN: Final = "again"
"""Where a function is kept that finds that out anew."""
KEY_PROTOCOL: Final = "cortex.bearer."
"""Before the key in base64url, among the subprotocols of a browser, which sends no headers."""

_PUBLIC: Final = tuple(compile_path(path)[0] for path in PUBLIC_PATHS if "{" in path)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_log = structlog.get_logger(__name__)


class ContextMiddleware:
    """Gives each request a correlation id and renders what goes wrong further in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in REQUESTS:
            await self._app(scope, receive, send)
            return
        correlation_id = _correlation_id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
        began = time.monotonic()
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] in ANSWERS:
                status = message.get("status", 101)
                message.setdefault("headers", [])
                message["headers"] = list(message["headers"])
                message["headers"].append((b"x-request-id", correlation_id.encode()))
            await send(message)

        try:
            if b"%00" in scope["query_string"]:
                raise InvalidRequest("the query contains a NUL character")
            if "\0" in scope["path"]:
                raise NotFound("there is nothing at a path with a NUL character")
            await self._app(scope, receive, send_marked)
        except Exception as error:
            if status:
                _log.exception("response.broken_off", path=scope["path"])
                raise
            if isinstance(error, Forbidden | NotAuthenticated):
                _note_denial(scope, error, correlation_id)
            await problem_response(error, scope)(scope, receive, send_marked)
        if status >= 500 and in_api(scope):
            took = round(time.monotonic() - began, 3)
            _log.warning("request.refused", path=scope["path"], status=status, seconds=took)


class AuthMiddleware:
    """Finds out who asks, and lets nobody unknown in but to the public paths.

    Without any key in the settings this machine itself may ask without one, as the local admin.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._keys = SettingsKeys(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in REQUESTS and in_api(scope):
            asking = await self._principal(scope)
            again = partial(self._principal, scope)
            # A copy: what the server hands over may be shared between requests.
            scope["state"] = {**scope.get("state", {}), PRINCIPAL: asking, AGAIN: again}
        await self._app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal:
        headers, source = Headers(scope=scope), address_of(scope)
        request_id = structlog.contextvars.get_contextvars().get("correlation_id", "")
        if is_public(scope["path"]):
            if not self._keys:
                _require_local(scope, headers)
            return Principal(name="", role=Role.VIEWER, source=source, request_id=request_id)
        key = _key_sent(headers) or _key_offered(scope)
        authenticator: Authenticator = scope["app"].state.services.authenticator
        known = self._keys.find(key) if key else None
        if known is None and not self._keys and not (is_key(key) or is_access_token(key)):
            _require_local(scope, headers)
            known = (LOCAL_ADMIN, Role.ADMIN)
        if known is not None:
            name, role = known
            return Principal(
                name=name,
                role=role,
                source=source,
                request_id=request_id,
                memberships=await authenticator.memberships(name, role),
            )
        if not key:
            raise NotAuthenticated(
                "send the API key as `Authorization: Bearer <key>` or `X-API-Key: <key>`, or log "
                "in and send the access token as `Authorization: Bearer <token>`"
            )
        return await authenticator.principal(key, source=source, request_id=request_id)


def in_api(scope: Scope) -> bool:
    """Whether a request is one of those that somebody must be known for."""
    path: str = scope["path"]
    if path == GRAPHQL:
        return scope.get("method") not in ("GET", "HEAD")
    return path.startswith(API_PREFIX)


def is_public(path: str) -> bool:
    """Whether the path of a request is one of the public ones."""
    return path in PUBLIC_PATHS or (
        path.startswith("/api/v1/auth/") and any(form.match(path) for form in _PUBLIC)
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _key_sent(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _key_offered(scope: Scope) -> str:
    """A page of a browser cannot send headers with a WebSocket."""
    for name in scope.get("subprotocols") or ():
        if name.startswith(KEY_PROTOCOL):
            text = name.removeprefix(KEY_PROTOCOL)
            with contextlib.suppress(ValueError):
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    return ""


def _require_local(scope: Scope, headers: Headers) -> None:
    """Refuse other machines, and web pages of others that a local browser has open."""
    client = scope.get("client")
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    origin = headers.get("origin")
    if client is None or not is_loopback(client[0]) or not is_loopback(host):
        raise NotAuthenticated("without an API key only requests from this machine are accepted")
    if origin and urlsplit(origin).netloc != headers.get("host", ""):
        raise NotAuthenticated("without an API key no requests of other web pages are accepted")


def _note_denial(scope: Scope, error: Forbidden | NotAuthenticated, request_id: str) -> None:
    """For the audit log."""
    known = scope.get("state", {}).get(PRINCIPAL)
    nobody = Principal(name="", role=Role.VIEWER, source=address_of(scope), request_id=request_id)
    action = error.action if isinstance(error, Forbidden) else "authenticate"
    subject = f"{scope.get('method', 'WS')} {scope['path']}"
    if isinstance(error, LoginRefused):
        action, subject = "session.login", error.name
    attempt = Attempt(known or nobody, action, subject, error.detail)
    scope["app"].state.services.denials.note(attempt)


def address_of(scope: Scope) -> str:
    """The address that a request comes from."""
    return scope["client"][0] if scope.get("client") else ""


def _correlation_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
