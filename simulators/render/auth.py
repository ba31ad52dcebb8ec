"""Checks signatures as Dispersed says it does: key, time, nonce, canonical request."""

import hashlib
import hmac
import json
from collections import OrderedDict
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request

from simulators.kit.clock import Clock
from simulators.render.settings import PUBLIC_KEY, SECRET_KEY

_WINDOW = timedelta(minutes=5)
_NONCES = 100_000


class Refusal(Exception):
    """An error with the envelope that clients of Dispersed read."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Gatekeeper:
    """Lets signed requests in, each once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def check(self, request: Request, body: bytes) -> None:
        """Raises Refusal of what is not signed well."""
        head = request.headers
        public, stamp = head.get("x-api-key", ""), head.get("x-time", "")
        nonce, given = head.get("x-nonce", ""), head.get("x-signature", "")
        if public != PUBLIC_KEY:
            raise Refusal(401, "invalid_api_key", "unknown API key")
        if not stamp.isdecimal():
            raise Refusal(401, "invalid_timestamp", "X-Time must be Unix milliseconds")
        if abs(self._clock.unix_ms() - int(stamp)) > _WINDOW / timedelta(milliseconds=1):
            raise Refusal(401, "timestamp_out_of_range", "X-Time is over 5 minutes off")
        if len(nonce) != 32 or set(nonce) - set("0123456789abcdef"):
            raise Refusal(401, "invalid_nonce", "X-Nonce must be 32 hexadecimal digits")
        text = "|".join(
            (
                public,
                stamp,
                nonce,
                request.method,
                request.url.path,
                _query(request.url.query),
                hashlib.sha256(_body(body)).hexdigest(),
            )
        )
        wanted = hmac.new(SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, given):
            raise Refusal(401, "invalid_signature", "the signature does not fit the request")
        if nonce in self._nonces:
            raise Refusal(401, "nonce_reused", "this nonce was used before")
        self._nonces[nonce] = None
        if len(self._nonces) > _NONCES:
            self._nonces.popitem(last=False)


def _query(raw: str) -> str:
    # A blank is a plus, as the network's own sample client encodes it.
    return urlencode(sorted(parse_qsl(raw, keep_blank_values=True)))


def _body(raw: bytes) -> bytes:
    if not raw:
        return b""
    try:
        value = json.loads(raw)
    except ValueError:
        raise Refusal(400, "invalid_json", "the body is no JSON") from None
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
