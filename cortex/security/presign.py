"""Links that allow one thing for a while: to put, get, take or delete one object of the drop box.

To take is to get it once: it is gone afterwards.
"""

import hashlib
import hmac
import time
from datetime import timedelta
from typing import Literal
from urllib.parse import quote, urlencode

Operation = Literal["put", "get", "take", "delete"]
PATH = "/drop"


def presigned(
    base: str, secret: bytes, operation: Operation, place: tuple[str, str], lifetime: timedelta
) -> str:
    """The URL for `operation` on the object `name` of the lease `key` (`place` is both)."""
    key, name = place
    expires = int(time.time() + lifetime.total_seconds())
    query = urlencode(
        {
            "op": operation,
            "expires": expires,
            "signature": _signature(secret, operation, place, expires),
        }
    )
    return f"{base.rstrip('/')}{PATH}/{quote(key)}/{quote(name)}?{query}"


def allowed(
    secret: bytes, operation: str, place: tuple[str, str], expires: str, signature: str
) -> bool:
    """Whether the link was signed with this secret, for this, and is still good."""
    if not expires.isdecimal() or int(expires) < time.time():
        return False
    wanted = _signature(secret, operation, place, int(expires))
    return hmac.compare_digest(wanted.encode(), signature.encode())


def _signature(secret: bytes, operation: str, place: tuple[str, str], expires: int) -> str:
    text = "\n".join((operation, *place, str(expires)))
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
