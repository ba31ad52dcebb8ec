"""Logging in a program by a browser elsewhere (RFC 8628): its codes, and its rules."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.quantities import Duration

DEVICE_CODE: Final = "^ctd_[A-Za-z0-9_-]{43}$"
_DEVICE_CODE: Final = re.compile(DEVICE_CODE)
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so no words; no digits that look like letters."""
_HALF: Final = 4
_SLOWER: Final = 5.0


class DeviceState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"


class DeviceRules(BaseModel):
    """How long a program waits for its user, and how often it asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lifetime: Duration = Field(
        default=timedelta(minutes=10), ge=timedelta(seconds=30), le=timedelta(minutes=30)
    )
    interval: Duration = Field(
        default=timedelta(seconds=5), ge=timedelta(milliseconds=100), le=timedelta(minutes=1)
    )


@dataclass(frozen=True)
class DeviceCodes:
    """What a program gets: one code for itself, and one that its user compares."""

    device_code: str
    user_code: str

    @classmethod
    def make(cls) -> "DeviceCodes":
        secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        letters = "".join(secrets.choice(_LETTERS) for _ in range(2 * _HALF))
        return cls(f"ctd_{secret}", f"{letters[:_HALF]}-{letters[_HALF:]}")

    def __repr__(self) -> str:
        return "DeviceCodes(…)"


def read_user_code(text: str) -> str | None:
    """A code as it was typed, in whatever case and with whatever between; None: it is none."""
    letters = "".join(letter for letter in text[:40].upper() if letter.isalnum())
    if len(letters) != 2 * _HALF or any(letter not in _LETTERS for letter in letters):
        return None
    return f"{letters[:_HALF]}-{letters[_HALF:]}"


def is_device_code(text: str) -> bool:
    """Whether a text has the form of one; only then it is worth looking for."""
    return bool(_DEVICE_CODE.fullmatch(text))


def code_hash(code: str) -> str:
    """What is stored of either code, and of what a browser keeps."""
    return hashlib.sha256(code.encode()).hexdigest()


def form_token(browser_secret: str) -> str:
    """What a form of ours sends back, and no form of another page can."""
    return hmac.new(browser_secret.encode(), b"form", "sha256").hexdigest()


def slowed(interval: float) -> float:
    """Seconds to wait for whoever has asked too soon (RFC 8628, 3.5)."""
    return interval + _SLOWER
