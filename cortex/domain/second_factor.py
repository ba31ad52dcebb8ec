"""The second factor: codes of an app (TOTP), and recovery codes for whoever has lost it."""

import hashlib
import re
import secrets
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

CODE: Final = "^[0-9]{6}$"
"""A code of an app."""
SECOND_FACTOR: Final = (
    "^([0-9]{6}|[0-9a-hjkmnp-tv-z]{4}-[0-9a-hjkmnp-tv-z]{4}"
    "-[0-9a-hjkmnp-tv-z]{4}-[0-9a-hjkmnp-tv-z]{4})$"
)
"""A code of an app, or a recovery code."""
RECOVERY_CODES: Final = 10

_CODE: Final = re.compile(CODE)
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class SecondFactorState(BaseModel):
    """Whether somebody has a second factor.

    Attributes:
        confirmed_at: Since when there is an app that shows codes; None: there is none.
        recovery_codes_left: Recovery codes that were not used yet.
        passkeys: How many there are.
    """

    model_config = ConfigDict(frozen=True)

    confirmed_at: datetime | None
    recovery_codes_left: int
    passkeys: int = 0


def is_app_code(text: str) -> bool:
    """Whether it has the form of a code of an app, and not of a recovery code."""
    return bool(_CODE.fullmatch(text))


def new_recovery_codes() -> list[str]:
    """Recovery codes, of 80 bits each."""
    return [
        "-".join("".join(secrets.choice(_DIGITS) for _ in range(4)) for _ in range(4))
        for _ in range(RECOVERY_CODES)
    ]


def recovery_hash(code: str) -> str:
    """What is stored of a recovery code. Nobody can try 80 bits, so no salt."""
    return hashlib.sha256(code.encode()).hexdigest()
