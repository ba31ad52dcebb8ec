"""What devices answer with that have passkeys, as WebAuthn writes it in JSON (`toJSON()`).

Whatever else browsers put beside it is not looked at.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Encoded = Annotated[str, Field(min_length=1, max_length=20_000, pattern="^[A-Za-z0-9_-]+$")]
"""Bytes in base64url."""


class AttestationResponse(BaseModel):
    """How a device answers that makes a passkey."""

    model_config = ConfigDict(frozen=True)

    clientDataJSON: Encoded
    attestationObject: Encoded


class NewCredential(BaseModel):
    """What `navigator.credentials.create` gives (`toJSON()`)."""

    model_config = ConfigDict(frozen=True)

    id: Encoded
    rawId: Encoded
    type: Literal["public-key"]
    response: AttestationResponse


class AssertionResponse(BaseModel):
    """How a device answers that has a passkey."""

    model_config = ConfigDict(frozen=True)

    clientDataJSON: Encoded
    authenticatorData: Encoded
    signature: Encoded


class PasskeyAssertion(BaseModel):
    """What `navigator.credentials.get` gives."""

    model_config = ConfigDict(frozen=True)

    id: Encoded
    rawId: Encoded
    type: Literal["public-key"]
    response: AssertionResponse
