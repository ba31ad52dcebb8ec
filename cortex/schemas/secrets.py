"""What the routes about secrets answer."""

from pydantic import Field

from cortex.schemas._view import View


class SealedView(View):
    """Ciphertexts of one kind under one key."""

    what: str = Field(
        description="`jobs` (their `secret_env`), `providers` (their credentials), `signing_keys` "
        "(of access tokens), `totp_seeds` (second factors), `webhooks` (what signs, headers)."
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
