"""What every request passes, from the outside in: context, authentication, body, admission.

All are plain ASGI: nothing is wrapped that does not need it.
"""

import asyncio
import base64
import contextlib
import ipaddress
import re
import secrets
import time
from functools import partial
from typing import Final
from urllib.parse import parse_qs, urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import RequestTimeout, ServerBusy, problem_response
from cortex.domain.accounts import is_key
from cortex.domain.errors import (
    Forbidden,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    PayloadTooLarge,
)
from cortex.domain.login_errors import LoginRefused
from cortex.domain.rights import LOCAL_ADMIN, Principal, Role
from cortex.domain.sessions import is_access_token
from cortex.domain.units import format_bytes
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
        *("jwks", "login", "login/passkey", "redeem", "refresh"),
        *("oidc", "oidc/{name}/start", "oidc/{name}/callback"),
        *("device", "device/start", "device/token"),
        *("device/login", "device/passkey", "device/sso/{name}", "device/confirm"),
    )
)
"""Where nobody can say yet who asks. All other routes of the API name their action."""
MAX_STREAMS: Final = 1000
PRINCIPAL: Final = "principal"
"""Where in the state of a request who asks is kept."""
AGAIN: Final = "again"
"""Where a function is kept that finds that out anew."""
KEY_PROTOCOL: Final = "cortex.bearer."
"""Before the key in base64url, among the subprotocols of a browser, which sends no headers."""

_PUBLIC: Final = tuple(compile_path(path)[0] for path in PUBLIC_PATHS if "{" in path)
_MAX_WAITING: Final = 1000
_BODY_SECONDS: Final = 30.0
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


class BodyMiddleware:
    """Reads the body before the request takes a place, and refuses one that is too large."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._limit = settings.max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self._limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._read(receive)
        except TimeoutError:
            raise RequestTimeout(f"the body did not arrive within {_BODY_SECONDS:g} s") from None
        if body is None:
            return
        unread = True

        async def receive_body() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self._app(scope, receive_body, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None if the client went away."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._limit:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"the body may have at most {format_bytes(self._limit)}")


class AdmissionMiddleware:
    """Works on a bounded number of requests at once; more wait their turn, then are refused.

    A place is free again when the answer begins: a slow reader holds none. Streams have their
    own limit, and paths outside the API none at all.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._places = asyncio.Semaphore(settings.max_in_flight)
        self._patience = settings.admission_timeout.total_seconds()
        self._waiting = 0
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not in_api(scope):
            await self._app(scope, receive, send)
        elif wants_stream(scope):
            await self._stream(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._streams >= MAX_STREAMS:
            raise ServerBusy(f"server busy: {MAX_STREAMS} streams are open; try again later")
        self._streams += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._streams -= 1

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._enter()
        held = True

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                self._places.release()

        async def send_leaving(message: Message) -> None:
            if message["type"] == "http.response.start":
                leave()
            await send(message)

        try:
            await self._app(scope, receive, send_leaving)
        finally:
            leave()

    async def _enter(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        if self._waiting >= _MAX_WAITING:
            raise ServerBusy("server busy: too many requests are waiting; try again")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise ServerBusy(
                f"server busy: no place became free within {self._patience:g} s; try again"
            ) from None
        finally:
            self._waiting -= 1


def in_api(scope: Scope) -> bool:
    """Whether a request is one of those that somebody must be known for."""
    path: str = scope["path"]
    if path == GRAPHQL:
        return scope.get("method") not in ("GET", "HEAD")
    return path.startswith(API_PREFIX)


def wants_stream(scope: Scope) -> bool:
    """Whether the request asks for server-sent events."""
    path: str = scope["path"]
    if scope["method"] != "GET" or not path.endswith(("/logs", "/events")):
        return False
    if "text/event-stream" in Headers(scope=scope).get("accept", ""):
        return True
    follow = parse_qs(scope["query_string"].decode("latin-1")).get("follow", [""])[-1]
    return path.endswith("/logs") and follow == "true"


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


def _has_body(scope: Scope) -> bool:
    return any(
        name in (b"content-length", b"transfer-encoding") and value != b"0"
        for name, value in scope["headers"]
    )
