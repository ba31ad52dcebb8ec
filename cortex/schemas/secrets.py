"""What the routes about secrets take and answer."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema, field_validator

from cortex.domain.named_secrets import LONGEST_SECRET, NamedSecret
from cortex.domain.names import NO_NUL
from cortex.schemas._view import View


class SealedView(View):
    """Ciphertexts of one kind under one key."""

    what: str = Field(
        description="`jobs` (their `secret_env`), `named_secrets` (of projects), "
        "`notice_preferences` (chats of persons), "
        "`messages` (to persons, until they are sent), "
        "`providers` (their credentials), `signing_keys` (of access tokens), "
        "`totp_seeds` (second factors), `webhooks` (what signs, headers)."
    )
    key: str = Field(description="Id of the encryption key.")
    count: int
    readable: bool = Field(description="False: the key is not in the ring, so nobody can open it.")


class RotationView(View):
    """With which keys secrets are encrypted, and how far a rotation is."""

    newest: str | None = Field(description="The key that encrypts; null: none is configured.")
    keys: tuple[str, ...] = Field(description="All keys of the ring, the newest first.")
    sealed: tuple[SealedView, ...]
    left: int = Field(description="Still under an older key of the ring.")
    lost: int = Field(description="Under a key that is not in the ring.")


class NamedSecretPut(BaseModel):
    """The value of a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Annotated[
        SecretStr,
        WithJsonSchema(
            {
                "type": "string",
                "format": "password",
                "writeOnly": True,
                "pattern": NO_NUL,
                "minLength": 1,
                "maxLength": LONGEST_SECRET,
            }
        ),
    ] = Field(description="A text; it is taken as it is, also its line ends.")

    @field_validator("value")
    @classmethod
    def _text(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if not text:
            raise ValueError("is empty")
        if "\0" in text:
            raise ValueError("must not contain a NUL character")
        if len(text) > LONGEST_SECRET:
            raise ValueError(f"must have at most {LONGEST_SECRET:,} characters")
        return value


class NamedSecretPage(View):
    """The secrets of a project, by name."""

    items: tuple[NamedSecret, ...]
