"""Headers that every answer has, and which web pages of others may read answers (CORS)."""

from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import ANSWERS, REQUESTS
from cortex.settings import ApiSettings

Raw = tuple[bytes, bytes]

# An answer is data: whatever a browser takes it for, it loads nothing, runs nothing and is framed
# nowhere. So is a result file of a job, which may well be a page with scripts.
_INERT: Final = b"default-src 'none'; frame-ancestors 'none'; sandbox"
_ALWAYS: Final[tuple[Raw, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_UNLESS_SAID: Final[tuple[Raw, ...]] = (
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _INERT),
    (b"cache-control", b"no-store"),
)
_ASKED: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-API-Key",
    "X-Namespace",  # Temporal's Web UI sends it to its codec endpoint
    "X-Request-ID",
)
_SHOWN: Final = (
    "Content-Disposition",
    "Deprecation",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "X-Request-ID",
)
_PREFLIGHT_SECONDS: Final = 600


class HeadersMiddleware:
    """Adds the security headers; a route may say its own policy of contents and caching."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        seconds = int(settings.hsts.total_seconds())
        value = f"max-age={seconds}; includeSubDomains".encode()
        # Over plain HTTP it must not be sent (RFC 6797, 7.2).
        self._secure = (*_ALWAYS, *([(b"strict-transport-security", value)] if seconds else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in REQUESTS:
            await self._app(scope, receive, send)
            return
        always = self._secure if scope["scheme"] in ("https", "wss") else _ALWAYS

        async def send_marked(message: Message) -> None:
            if message["type"] in ANSWERS:
                headers = [*message.get("headers", ()), *always]
                said = {name for name, _ in headers}
                headers.extend(header for header in _UNLESS_SAID if header[0] not in said)
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_marked)


def allow_origins(app: FastAPI, settings: ApiSettings) -> None:
    """Let the web pages of `api.cors_origins` read answers; without any, none may.

    Keys are sent in headers that a page sets itself, so no page needs credentials of the browser,
    and none may send them.
    """
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=list(_ASKED),
            expose_headers=list(_SHOWN),
            allow_credentials=False,
            max_age=_PREFLIGHT_SECONDS,
        )
