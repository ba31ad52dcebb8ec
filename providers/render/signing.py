"""Signs requests to Dispersed (docs: "Authenticate requests"): HMAC-SHA256 over seven parts.

The signed string holds the query and the body in one canonical form; exactly those bytes are sent.
A nonce is good once, so every try is signed anew. The time must be the server's within five
minutes: a clock of ours that goes wrong is corrected by the `Date` of its answers.
"""

import email.utils
import hashlib
import hmac
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

_TOLERANCE = 60.0


@dataclass(frozen=True)
class Keys:
    """A key pair made in the console."""

    public: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Keys({self.public!r})"


def canonical_body(value: Any) -> bytes:
    """JSON with keys sorted at every depth, no white space, ASCII only; empty for None."""
    if value is None:
        return b""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def canonical_query(params: Mapping[str, str | list[str]]) -> str:
    """Keys sorted, values of a repeated key sorted, all URL-encoded.

    A blank is a plus, as the network's own sample client encodes it (`urllib.parse.urlencode`).
    """
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, part) for part in values]
    return urlencode(sorted(pairs))


def signature(keys: Keys, *, stamp: str, nonce: str, request: tuple[str, str, str, bytes]) -> str:
    """The signature of method, path, query and body at a time in Unix milliseconds."""
    method, path, query, body = request
    digest = hashlib.sha256(body).hexdigest()
    text = "|".join((keys.public, stamp, nonce, method, path, query, digest))
    return hmac.new(keys.secret, text.encode(), hashlib.sha256).hexdigest()


class Signer(httpx.Auth):
    """Signs each request; once more, with the server's time, where ours was refused."""

    requires_request_body = True

    def __init__(self, keys: Keys, *, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._now = now
        self._offset = 0.0

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        self._sign(request)
        response = yield request
        if self._learn(response) and response.status_code in (401, 403):
            self._sign(request)
            yield request

    def _sign(self, request: httpx.Request) -> None:
        stamp = str(int((self._now() + self._offset) * 1000))
        nonce = os.urandom(16).hex()
        parts = (
            request.method,
            request.url.path,
            request.url.query.decode("ascii"),
            request.content,
        )
        request.headers.update(
            {
                "X-API-Key": self._keys.public,
                "X-Time": stamp,
                "X-Nonce": nonce,
                "X-Signature": signature(self._keys, stamp=stamp, nonce=nonce, request=parts),
            }
        )

    def _learn(self, response: httpx.Response) -> bool:
        """Whether the answer says that our idea of the server's time was wrong."""
        told = (response.headers.get_list("date") or [""])[-1]
        if email.utils.parsedate(told) is None:
            return False
        offset = email.utils.parsedate_to_datetime(told).timestamp() - self._now()
        if abs(offset - self._offset) < _TOLERANCE:
            return False
        self._offset = offset
        return True
