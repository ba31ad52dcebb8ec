"""Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body."""

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable
from datetime import datetime
from typing import Final

PREFIX: Final = "whsec_"
_BYTES: Final = 32


def new_secret() -> str:
    """A secret of 256 random bits, as it is shown to whoever verifies: `whsec_<base64>`."""
    return PREFIX + base64.b64encode(os.urandom(_BYTES)).decode()


def signed_headers(
    secrets: Iterable[str], message_id: str, time: datetime, body: bytes
) -> dict[str, str]:
    """The headers that prove who sends the body.

    Args:
        secrets: Each makes one signature; the receiver needs to know one of them.
        message_id: The same at each attempt.
        time: Of this attempt: receivers refuse what is minutes old.
        body: As it is sent.
    """
    stamp = str(int(time.timestamp()))
    content = f"{message_id}.{stamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{_sum(secret, content)}" for secret in secrets),
    }


def _sum(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
