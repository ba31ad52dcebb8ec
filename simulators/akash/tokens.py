"""Tokens for the gateways: who, until when, at which provider, for what.

The real ones are signed with the account's key and checked against the chain. These are signed
with a secret of this process, and say the same.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any

_SECRET = secrets.token_bytes(32)


def issue(owner: str, leases: dict[str, Any], ttl: int) -> str:
    """A token as the Console gives it."""
    now = int(time.time())
    claims = {
        "iss": owner,
        "iat": now,
        "nbf": now,
        "exp": now + ttl,
        "version": "v1",
        "leases": leases,
    }
    head = _encode(json.dumps({"alg": "ES256K", "typ": "JWT"}).encode())
    body = f"{head}.{_encode(json.dumps(claims).encode())}"
    return f"{body}.{_signature(body)}"


def allows(token: str, provider: str, scope: str) -> bool:
    """Whether a gateway lets its bearer do this."""
    body, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature, _signature(body)):
        return False
    claims = json.loads(_decode(body.partition(".")[2]))
    if not claims["nbf"] <= time.time() < claims["exp"]:
        return False
    leases = claims["leases"]
    if leases.get("access") == "full":
        return True
    if leases.get("access") == "scoped":
        return scope in leases.get("scope", ())
    return any(
        item["provider"] == provider and scope in item.get("scope", ())
        for item in leases.get("permissions", ())
    )


def _signature(body: str) -> str:
    return _encode(hmac.new(_SECRET, body.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
