"""What a request passes once it is known who asks: its body, then admission.

All of it is bounded: the memory that bodies take, the requests that are worked on, the live streams
of one user and of all.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import PRINCIPAL, address_of, in_api, is_public
from api.problems import RequestTimeout, ServerBusy, TooManyStreams
from cortex.domain.errors import PayloadTooLarge
from cortex.domain.rights import Principal
from cortex.domain.units import format_bytes
from cortex.settings import ApiSettings

MAX_PUBLIC_BODY: Final = 64 * 2**10
"""Bytes of a body where nobody can say yet who asks: a login, a token."""

_PUBLIC_SHARE: Final = 8
_MAX_WAITING: Final = 1000
_BODY_SECONDS: Final = 30.0


class BodyMiddleware:
    """Reads the body before the request takes a place, and refuses one that is too large.

    All bodies together, from their first byte to the end of their request, have a bounded memory.
    Of it, those of the public paths get a small part: whoever is not known must not use up what
    the others need.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings
        self._held = {True: 0, False: 0}
        """Bytes of bodies, of the public paths and of all others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body = _Body(public=is_public(scope["path"]))
        limit = self._limit(body)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise _too_large(limit)
        try:
            whole = await self._in_time(receive, body)
            if whole is not None:
                await self._app(scope, _given(whole, receive), send)
        finally:
            self._held[body.public] -= body.size

    def _limit(self, body: "_Body") -> int:
        most = self._settings.max_body
        return min(most, MAX_PUBLIC_BODY) if body.public else most

    async def _in_time(self, receive: Receive, body: "_Body") -> bytes | None:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await self._read(receive, body)
        except TimeoutError:
            raise RequestTimeout(f"the body did not arrive within {_BODY_SECONDS:g} s") from None

    async def _read(self, receive: Receive, body: "_Body") -> bytes | None:
        """The whole body; None if the client went away."""
        parts = bytearray()
        limit = self._limit(body)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            if len(parts) + len(part) > limit:
                raise _too_large(limit)
            self._hold(body, len(part))
            parts += part
            if not message.get("more_body", False):
                return bytes(parts)

    def _hold(self, body: "_Body", size: int) -> None:
        most = max(self._settings.body_memory, self._settings.max_body)
        room = most // _PUBLIC_SHARE if body.public else most
        if self._held[body.public] + size > room:
            raise ServerBusy("server busy: the bodies of other requests take all memory; try again")
        self._held[body.public] += size
        body.size += size


class _Body:
    """What is held of one body."""

    def __init__(self, *, public: bool) -> None:
        self.public = public
        self.size = 0


def _given(body: bytes, receive: Receive) -> Receive:
    """Gives the body as one message, and then whatever else comes."""
    unread = True

    async def receive_body() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receive_body


class LiveStreams:
    """How many live streams are open: WebSockets and server-sent events, of each user and of all.

    Each kind has its own bound for all; one user has one for both kinds together, with all keys.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._of_users: Counter[str] = Counter()
        self._sockets = 0
        self._streams = 0

    @contextlib.contextmanager
    def socket(self, scope: Scope) -> Iterator[None]:
        """A place for a WebSocket while the block runs.

        Raises:
            ServerBusy: there are `api.max_sockets`.
            TooManyStreams: this user has `api.max_streams_per_user`.
        """
        most = self._settings.max_sockets
        if self._sockets >= most:
            raise ServerBusy(f"server busy: {most} WebSockets are open; try again later")
        with self._of_user(scope):
            self._sockets += 1
            try:
                yield
            finally:
                self._sockets -= 1

    @contextlib.contextmanager
    def stream(self, scope: Scope) -> Iterator[None]:
        """A place for a stream of server-sent events while the block runs.

        Raises:
            ServerBusy: there are `api.max_streams`.
            TooManyStreams: this user has `api.max_streams_per_user`.
        """
        most = self._settings.max_streams
        if self._streams >= most:
            raise ServerBusy(f"server busy: {most} streams are open; try again later")
        with self._of_user(scope):
            self._streams += 1
            try:
                yield
            finally:
                self._streams -= 1

    @contextlib.contextmanager
    def _of_user(self, scope: Scope) -> Iterator[None]:
        principal: Principal = scope["state"][PRINCIPAL]
        who = principal.name or address_of(scope)
        most = self._settings.max_streams_per_user
        if most and self._of_users[who] >= most:
            raise TooManyStreams(
                f"`{who}` has {most} live streams open (WebSockets and event streams together), "
                "as many as one user may have: close one, or follow several things over one "
                "WebSocket"
            )
        self._of_users[who] += 1
        try:
            yield
        finally:
            self._of_users[who] -= 1
            if not self._of_users[who]:
                del self._of_users[who]


class AdmissionMiddleware:
    """Works on a bounded number of requests at once; more wait their turn, then are refused.

    A place is free again when the answer begins: a slow reader holds none. Streams have their
    own limits, and paths outside the API none at all.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._places = asyncio.Semaphore(settings.max_in_flight)
        self._patience = settings.admission_timeout.total_seconds()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not in_api(scope):
            await self._app(scope, receive, send)
        elif wants_stream(scope):
            live: LiveStreams = scope["app"].state.live_streams
            with live.stream(scope):
                await self._app(scope, receive, send)
        else:
            await self._request(scope, receive, send)

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


def wants_stream(scope: Scope) -> bool:
    """Whether the request asks for server-sent events."""
    path: str = scope["path"]
    if scope["method"] != "GET" or not path.endswith(("/logs", "/events")):
        return False
    if "text/event-stream" in Headers(scope=scope).get("accept", ""):
        return True
    follow = parse_qs(scope["query_string"].decode("latin-1")).get("follow", [""])[-1]
    return path.endswith("/logs") and follow == "true"


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body may have at most {format_bytes(limit)}")


def _has_body(scope: Scope) -> bool:
    return any(
        name in (b"content-length", b"transfer-encoding") and value != b"0"
        for name, value in scope["headers"]
    )
