"""Tokens for the gateways: who, until when, at which provider, for what.

The real ones are signed with the account's key and checked against the chain. These are signed
with secrets of this process, and say the same. Refusals are those that were recorded of the real
gateway (`recordings/akash-gateway/auth-*.json`).
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

_SECRET = secrets.token_bytes(32)

Scope = Literal["send-manifest", "get-manifest", "status", "logs", "events", "shell"]


@dataclass(frozen=True)
class Denied:
    """What a gateway answers to a bearer that it does not let in."""

    status: int
    message: str


UNAUTHORIZED = Denied(401, "unauthorized access")
_BAD_HEADER = Denied(400, "invalid authorization header")
_BAD_CLAIMS = Denied(400, "JWT has invalid claims")
_INVALID = Denied(401, "JWT is invalid")


def issue(
    owner: str,
    leases: dict[str, Any],
    ttl: float,
    *,
    at: float | None = None,
    version: str = "v1",
    secret: bytes = _SECRET,
) -> str:
    """A token as the Console gives it; `at` is when, now by default."""
    now = int(time.time() if at is None else at)
    claims = {
        "iss": owner,
        "iat": now,
        "nbf": now,
        "exp": now + ttl,
        "version": version,
        "leases": leases,
    }
    head = _encode(json.dumps({"alg": "ES256K", "typ": "JWT"}).encode())
    body = f"{head}.{_encode(json.dumps(claims).encode())}"
    return f"{body}.{_signature(body, secret)}"


def bearer(header: str | None, *, now: float, accounts: Collection[str]) -> Any:
    """The claims behind an `Authorization` header, None without one, or why it is refused.

    Signatures are looked at first, then the times. `accounts` are those whose key is known.
    """
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    if kind != "Bearer" or not token:
        return _BAD_HEADER
    body, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature, _signature(body, _SECRET)):
        return _INVALID
    claims = json.loads(_decode(body.partition(".")[2]))
    if claims["iss"] not in accounts:
        return _INVALID
    if not claims["nbf"] <= now < claims["exp"] or claims["version"] != "v1":
        return _BAD_CLAIMS
    return claims


def allows(claims: Mapping[str, Any], provider: str, scope: Scope | None) -> bool:
    """Whether a gateway lets its bearer do this; None: whatever a token for a lease may do."""
    leases = claims["leases"]
    if leases.get("access") == "full":
        return True
    if leases.get("access") == "scoped":
        return scope is None or scope in leases.get("scope", ())
    return any(
        permission["provider"] == provider
        and (
            permission.get("access") == "full"
            or scope is None
            or scope in permission.get("scope", ())
        )
        for permission in leases.get("permissions", ())
    )


def _signature(body: str, secret: bytes) -> str:
    return _encode(hmac.new(secret, body.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
