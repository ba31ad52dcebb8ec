"""Passkeys (WebAuthn) as a second factor: their rules, and what is known of one."""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

CHALLENGE_LIFETIME: Final = timedelta(minutes=5)
MOST_PASSKEYS: Final = 20
PASSKEY_ID: Final = "^pky_[0-9a-hjkmnp-tv-z]{26}$"
ChallengeKind = Literal["register", "login"]


class PasskeyRules(BaseModel):
    """For which site passkeys are, and which pages may use them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rp_id: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9.-]{1,253}$",
        description="The domain that passkeys belong to; None: the host of `api.public_url`, else "
        "`localhost`. With another one all that were registered open nothing.",
    )
    rp_name: str = Field(default="Cortex", min_length=1, max_length=60)
    origins: tuple[str, ...] = Field(
        default=(),
        description="Pages that may use them, such as `https://cortex.example.org`; none: "
        "`api.public_url`, else `http://localhost` with the port of the API.",
    )
    require_verification: bool = Field(
        default=False,
        description="Whether the device must know its user (PIN, finger, face): the password is "
        "asked for anyway.",
    )


class Passkey(BaseModel):
    """A passkey as its owner sees it.

    Attributes:
        backed_up: Whether its device says that it is copied to others of the same owner.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    backed_up: bool
    created_at: datetime
    last_used_at: datetime | None
