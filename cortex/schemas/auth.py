"""What the routes about logging in take and answer."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from cortex.domain.links import LINK_TOKEN, LinkKind
from cortex.domain.names import NO_NUL
from cortex.domain.passwords import MOST_CHARACTERS, check_password
from cortex.domain.quantities import Duration
from cortex.domain.second_factor import CODE, SECOND_FACTOR
from cortex.domain.sessions import REFRESH_TOKEN, Session
from cortex.domain.spec.rules import span
from cortex.schemas._view import View
from cortex.schemas.accounts import UserName
from cortex.schemas.credentials import PasskeyAssertion

Password = Annotated[
    str,
    AfterValidator(check_password),
    Field(repr=False),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS, "pattern": NO_NUL}
    ),
]


LinkLifetime = Annotated[
    Duration,
    Field(ge=timedelta(minutes=1), le=timedelta(days=30)),
    WithJsonSchema(span(timedelta(minutes=1), timedelta(days=30))),
]


class LoginRequest(BaseModel):
    """Who logs in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: UserName
    password: Password
    code: str | None = Field(
        default=None,
        pattern=SECOND_FACTOR,
        repr=False,
        description="Of the second factor, where there is one: of the app, or a recovery code.",
    )
    passkey: PasskeyAssertion | None = Field(
        default=None,
        repr=False,
        description="In its place, what a device has signed (`POST /auth/login/passkey`).",
    )


class RefreshRequest(BaseModel):
    """The refresh token that was given last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refresh_token: str = Field(pattern=REFRESH_TOKEN, repr=False)


class PasswordChange(BaseModel):
    """One's old and new password."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    old_password: Password
    new_password: Password = Field(
        description="At least `passwords.least_length` characters, and not easy to guess."
    )


class InvitationRequest(BaseModel):
    """How long the link is good, and how it reaches whom it is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expires_in: LinkLifetime = Field(default=timedelta(days=3), description="At most 30 days.")
    by_email: StrictBool | None = Field(
        default=None,
        description="True: it is sent by e-mail, or refused (409); false: it is answered; "
        "null: sent where the server sends mail and the user has an address, else answered.",
    )


class Invitation(View):
    """A link by which somebody sets a password, once. Its token is nowhere to be had again."""

    token: str = Field(
        repr=False, description="For `POST /auth/redeem`; empty: it is sent by e-mail."
    )
    user: str
    kind: LinkKind = Field(description="`reset`: they have a password already.")
    expires_at: datetime
    sent_to: str = Field(default="", description="The address to which it is sent.")


class Redemption(BaseModel):
    """The token of a link, and the new password."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: str = Field(pattern=LINK_TOKEN, repr=False)
    password: Password = Field(
        description="At least `passwords.least_length` characters, and not easy to guess."
    )


class PasswordConfirmation(BaseModel):
    """The password once more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    password: Password


class CodeConfirmation(BaseModel):
    """A code that the app shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(pattern=CODE, repr=False)


class Enrolment(View):
    """A secret for an app that shows codes (TOTP). It is nowhere to be had again."""

    secret: str = Field(repr=False)
    uri: str = Field(repr=False, description="The same as `otpauth://`, for a QR code.")


class RecoveryCodes(View):
    """Codes for whoever has lost the app, each for one login. They are shown only now."""

    recovery_codes: tuple[str, ...] = Field(repr=False)


class LoggedIn(View):
    """Tokens of a session. They are nowhere to be had again."""

    access_token: str = Field(
        repr=False, description="To be sent as `Authorization: Bearer <token>`; a JWT (Ed25519)."
    )
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int = Field(description="Seconds that the access token is good for.")
    refresh_token: str = Field(
        repr=False, description="For `POST /auth/refresh`, once: each answer has the next one."
    )
    session: Session


class SessionPage(View):
    """Open sessions, the newest first."""

    items: tuple[Session, ...]
    current: str | None = Field(description="The one that asks; null: an API key asks.")


class JwkView(View):
    """A public key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["Ed25519"]


class JwkSet(View):
    """The public keys that access tokens are signed with."""

    keys: tuple[JwkView, ...]
