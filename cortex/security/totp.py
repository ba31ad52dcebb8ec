"""Time-based one-time codes (RFC 6238). Loaded with the first one."""

import hmac
import time
from typing import Final

import pyotp

_STEP: Final = 30
_AROUND: Final = (0, -1, 1)
"""Steps before and after now whose codes are taken: clocks differ, and people type slowly."""


def new_secret() -> str:
    """A secret of 160 bits, as apps take it."""
    return pyotp.random_base32()


def uri(secret: str, user: str, issuer: str) -> str:
    """The secret as an `otpauth://` address, for a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=issuer)


def step_of(secret: str, code: str, *, after: int, now: float | None = None) -> int | None:
    """The time step whose code it is; None: it is none, or its step was used before.

    Args:
        secret: As it was made.
        code: What was typed.
        after: The last step that was used.
        now: Seconds since 1970; None: it is now.
    """
    codes = pyotp.TOTP(secret, interval=_STEP)
    current = int(time.time() if now is None else now) // _STEP
    for around in _AROUND:
        step = current + around
        if step > after and hmac.compare_digest(codes.generate_otp(step), code):
            return step
    return None


def code_at(secret: str, seconds: float) -> str:
    """The code of a time, as an app shows it."""
    return pyotp.TOTP(secret, interval=_STEP).generate_otp(int(seconds) // _STEP)
