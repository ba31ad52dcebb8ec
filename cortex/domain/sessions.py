"""Sessions: somebody who has logged in, with a short access token and a rotating refresh token.

A refresh token is used once: its use gives the next one. The next one is derived from the one that
is used and a random number that is stored beside it. So a token that comes twice within a few
seconds (two tabs of a browser, an answer that was lost) is answered with the same next token, and
there is only ever one that is good; one that comes again later has been stolen from somebody, and
ends the session.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.quantities import Duration

REFRESH_TOKEN: Final = "^ctr_[A-Za-z0-9_-]{43}$"
_REFRESH_TOKEN: Final = re.compile(REFRESH_TOKEN)
_ACCESS_TOKEN: Final = re.compile(r"[\w-]+\.[\w-]*\.[\w-]*")
_LONGEST_ACCESS_TOKEN: Final = 2048


class SessionRules(BaseModel):
    """How long what somebody got by logging in is good."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_lifetime: Duration = Field(
        default=timedelta(minutes=10),
        ge=timedelta(seconds=10),
        le=timedelta(hours=1),
        description="Of an access token.",
    )
    refresh_lifetime: Duration = Field(
        default=timedelta(days=14),
        ge=timedelta(minutes=1),
        le=timedelta(days=365),
        description="Of a refresh token: a session that is not used for so long is over.",
    )
    longest: Duration = Field(
        default=timedelta(days=90),
        ge=timedelta(minutes=1),
        le=timedelta(days=3650),
        description="Of a session: after that one logs in again, however busy it was.",
    )
    grace: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(0),
        le=timedelta(minutes=1),
        description="A refresh token that comes again within this is answered again; later it "
        "ends the session.",
    )
    leeway: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(0),
        le=timedelta(minutes=5),
        description="How far the clocks of two API processes may differ.",
    )
    rotate_after: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(minutes=1),
        description="Age at which the key that signs access tokens is replaced.",
    )
    issuer: str = Field(
        default="cortex", min_length=1, max_length=200, description="`iss` of access tokens."
    )
    audience: str = Field(
        default="cortex-api", min_length=1, max_length=200, description="`aud` of access tokens."
    )


class Session(BaseModel):
    """Somebody who has logged in somewhere.

    Attributes:
        source: Address that it was used from last, as far as refreshing tells.
        client: What the program that logged in called itself (`User-Agent`).
        expires_at: When it is over, if it is not used until then.
        ended_why: `logout`, `revoked`, `password` (it was changed), `reset`, `reuse` (of a refresh
            token); empty while it is open.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    user: str
    created_at: datetime
    last_used_at: datetime
    source: str
    client: str
    expires_at: datetime
    ended_at: datetime | None
    ended_why: str


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token; only its hash is stored."""

    text: str

    @classmethod
    def make(cls) -> "RefreshToken":
        return cls(_text(secrets.token_bytes(32)))

    @classmethod
    def read(cls, text: str) -> "RefreshToken | None":
        """The token, if the text has the form of one; only then it is worth looking for."""
        return cls(text) if _REFRESH_TOKEN.fullmatch(text) else None

    @property
    def hash(self) -> str:
        """What is stored. It has 256 bits: nobody can try them, so no salt."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def next(self, nonce: bytes) -> "RefreshToken":
        """The one that follows: nobody can make it who has not this one."""
        return RefreshToken(_text(hmac.digest(self.text.encode(), nonce, "sha256")))

    def __repr__(self) -> str:
        return "RefreshToken(…)"


def is_access_token(text: str) -> bool:
    """Whether a text has the form of an access token (a JWT), be it valid or not."""
    return len(text) <= _LONGEST_ACCESS_TOKEN and bool(_ACCESS_TOKEN.fullmatch(text))


def _text(secret: bytes) -> str:
    return f"ctr_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"
