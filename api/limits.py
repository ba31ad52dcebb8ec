"""How often one may ask: a limit for each principal, and one for guesses at keys.

Counted in fixed windows of a minute, in this process, or in Redis where several processes share the
limits. A Redis that is away limits nobody: that is logged, and tried again a few seconds later.

The counters are loaded when something is counted first: who sets no limit pays for none.
"""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import (
    ANSWERS,
    KEY_PROTOCOL,
    PRINCIPAL,
    REQUESTS,
    address_of,
    in_api,
    is_loopback,
    is_public,
)
from api.problems import RateLimited
from cortex.domain.errors import NotAuthenticated
from cortex.domain.rights import Principal
from cortex.settings import ApiSettings

if TYPE_CHECKING:
    from limits.aio.storage import MemoryStorage, RedisStorage

WINDOW: Final = 60
"""Seconds in which a limit counts."""

_REDIS_SECONDS: Final = 0.5
_REDIS_AGAIN: Final = 5.0
_MOST_REMEMBERED: Final = 10_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Quota:
    """What is left of a limit, this request taken off.

    Attributes:
        remaining: More requests until the window ends; below 0: this one was too many.
        reset: Whole seconds until the window ends.
    """

    limit: int
    remaining: int
    reset: int

    def headers(self, policy: str) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers has them."""
        return {
            "ratelimit-policy": f'"{policy}";q={self.limit};w={WINDOW}',
            "ratelimit": f'"{policy}";r={max(0, self.remaining)};t={self.reset}',
        }


class Counters:
    """Counts requests by what they are counted under.

    Args:
        redis_url: `redis://`, `rediss://` or `unix://`; None: this process counts for itself.
    """

    def __init__(self, redis_url: str | None) -> None:
        self._redis_url = redis_url
        self._pool: Any = None
        self._storage: MemoryStorage | RedisStorage | None = None
        self._errors: tuple[type[Exception], ...] = (OSError, TimeoutError)
        self._away_until: float | None = None

    async def take(self, limit: int, *name: str) -> Quota | None:
        """One request under this name; None: nobody can say, since Redis is away."""
        if self._away_until is not None and time.monotonic() < self._away_until:
            return None
        storage = self._storage or self._open()
        key = "/".join(("cortex", *name))
        if self._redis_url is None:
            taken = await storage.incr(key, WINDOW)
            ends = await storage.get_expiry(key)
        else:
            try:
                async with asyncio.timeout(_REDIS_SECONDS):
                    taken = await storage.incr(key, WINDOW)
                    ends = await storage.get_expiry(key)
            except self._errors as error:
                self._note_away(error)
                return None
            if self._away_until is not None:
                self._away_until = None
                _log.info("limits.redis_back")
        # The window that ends in this moment counts as one of a second.
        return Quota(limit, limit - taken, max(1, math.ceil(ends - time.time())))

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    def _open(self) -> "MemoryStorage | RedisStorage":
        from limits.aio.storage import MemoryStorage, RedisStorage

        if self._redis_url is None:
            self._storage = MemoryStorage()
        else:
            from redis.asyncio import ConnectionPool
            from redis.exceptions import RedisError

            self._errors = (*self._errors, RedisError)
            self._pool = ConnectionPool.from_url(
                self._redis_url, socket_connect_timeout=_REDIS_SECONDS
            )
            self._storage = RedisStorage(
                "async+redis://", implementation="redispy", connection_pool=self._pool
            )
        return self._storage

    def _note_away(self, error: BaseException) -> None:
        if self._away_until is None:
            _log.warning(
                "limits.redis_away",
                error=str(error) or type(error).__name__,
                detail="requests are not limited meanwhile",
            )
        self._away_until = time.monotonic() + _REDIS_AGAIN


class PrincipalLimitMiddleware:
    """Limits how often one principal asks, with all keys together.

    A stream counts once, and so does a WebSocket.
    """

    def __init__(self, app: ASGIApp, counters: Counters, settings: ApiSettings) -> None:
        self._app = app
        self._counters = counters
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._settings.requests_per_minute
        if not limit or scope["type"] not in REQUESTS or not in_api(scope):
            await self._app(scope, receive, send)
            return
        principal: Principal = scope["state"][PRINCIPAL]
        # Who logs in is nobody yet: one address must not use up the limit of all others.
        kind, who = ("principal", principal.name) if principal.name else ("from", address_of(scope))
        quota = await self._counters.take(limit, kind, who)
        if quota is None:
            await self._app(scope, receive, send)
            return
        told = quota.headers("requests")
        if quota.remaining < 0:
            raise RateLimited(
                f"`{who}` may send {limit} requests a minute; the next in {quota.reset} s",
                headers={**told, "retry-after": str(quota.reset)},
            )
        raw = [(name.encode(), value.encode()) for name, value in told.items()]

        async def send_told(message: Message) -> None:
            if message["type"] in ANSWERS:
                message["headers"] = [*message.get("headers", ()), *raw]
            await send(message)

        await self._app(scope, receive, send_told)


class GuessLimitMiddleware:
    """Limits how often an address may send what opens nothing.

    Beyond the limit nothing that it sends is looked up until the minute is over, but for what has
    let somebody in before: those who share an address (a proxy, an office) with whoever guesses
    go on. This machine itself is not limited: who is on it can read its keys.
    """

    def __init__(self, app: ASGIApp, counters: Counters, settings: ApiSettings) -> None:
        self._app = app
        self._counters = counters
        self._settings = settings
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        here = scope["type"] in REQUESTS and in_api(scope)
        if not self._settings.failed_keys_per_minute or not here or is_public(path):
            # Where keys are not looked at, none is found to be good; logins are slowed down anyway.
            await self._app(scope, receive, send)
            return
        sent, address = _credentials(scope), address_of(scope)
        if not sent or _is_here(address):
            await self._app(scope, receive, send)
            return
        mark = hashlib.sha256(sent).digest()
        if mark not in self._good:
            self._require_patience(address)
        try:
            await self._app(scope, receive, send)
        except NotAuthenticated:
            if PRINCIPAL not in scope.get("state", ()):  # else it is about something further in
                self._good.pop(mark, None)  # revoked, or expired
                await self._note_failure(address)
            raise
        finally:
            if PRINCIPAL in scope.get("state", ()):
                _remember(self._good, mark, None)

    def _require_patience(self, address: str) -> None:
        until = self._refused.get(address)
        if until is None:
            return
        rest = math.ceil(until - time.monotonic())
        if rest <= 0:
            del self._refused[address]
            return
        raise RateLimited(
            f"too many keys that are not valid came from `{address}`; the next is looked at in "
            f"{rest} s",
            headers={"retry-after": str(rest)},
        )

    async def _note_failure(self, address: str) -> None:
        limit = self._settings.failed_keys_per_minute
        quota = await self._counters.take(limit, "failed", address)
        if quota is not None and quota.remaining <= 0:
            _remember(self._refused, address, time.monotonic() + quota.reset)


def add_principal_limit(app: FastAPI, counters: Counters, settings: ApiSettings) -> None:
    """Inside of authentication."""
    app.add_middleware(PrincipalLimitMiddleware, counters=counters, settings=settings)


def add_guess_limit(app: FastAPI, counters: Counters, settings: ApiSettings) -> None:
    """Around authentication."""
    app.add_middleware(GuessLimitMiddleware, counters=counters, settings=settings)


def counters_of(settings: ApiSettings) -> Counters:
    """The counters of one app."""
    return Counters(settings.redis_url.get_secret_value() if settings.redis_url else None)


def _credentials(scope: Scope) -> bytes:
    sent = [value for name, value in scope["headers"] if name in (b"authorization", b"x-api-key")]
    offered = [
        name.encode() for name in scope.get("subprotocols") or () if name.startswith(KEY_PROTOCOL)
    ]
    return b"\n".join([*sent, *offered])


@lru_cache(maxsize=1024)
def _is_here(address: str) -> bool:
    return is_loopback(address)


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Keep it as the newest of a bounded number."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _MOST_REMEMBERED:
        kept.popitem(last=False)
