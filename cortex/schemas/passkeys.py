"""What the routes about passkeys take and answer."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from cortex.domain.names import ONE_LINE, one_line
from cortex.domain.passkeys import Passkey
from cortex.schemas._view import View
from cortex.schemas.accounts import UserName
from cortex.schemas.auth import Password
from cortex.schemas.credentials import NewCredential

PasskeyName = Annotated[
    str,
    Field(min_length=1, max_length=60),
    AfterValidator(one_line),
    WithJsonSchema({"type": "string", "pattern": ONE_LINE, "minLength": 1, "maxLength": 60}),
]


class PasskeyCreate(BaseModel):
    """A passkey that a device has made, and what its owner calls it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: PasskeyName
    credential: NewCredential


class PasskeyUpdate(BaseModel):
    """Another name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: PasskeyName


class PasskeyLogin(BaseModel):
    """Who is about to log in with a passkey."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: UserName
    password: Password


class PasskeyOptions(View):
    """For the browser; its challenge is good once, for five minutes."""

    publicKey: dict[str, Any] = Field(
        description="For `navigator.credentials`, by `parseCreationOptionsFromJSON` or "
        "`parseRequestOptionsFromJSON`."
    )


class PasskeyAdded(View):
    """A new passkey; with the first second factor recovery codes, which are shown only now."""

    passkey: Passkey
    recovery_codes: tuple[str, ...] | None = Field(repr=False)


class PasskeyPage(View):
    """One's passkeys, the oldest first."""

    items: tuple[Passkey, ...]
