"""WebAuthn as its relying party. Loaded with the first passkey: the library is large."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import webauthn
from webauthn.helpers import base64url_to_bytes, options_to_json, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    UserVerificationRequirement,
)


class Refused(Exception):
    """What a device has sent is not good; says why in plain words."""


@dataclass(frozen=True)
class Site:
    """The site that passkeys are for.

    Attributes:
        rp_id: Its domain.
        origins: The pages that may use them.
    """

    rp_id: str
    rp_name: str
    origins: tuple[str, ...]
    require_verification: bool

    @property
    def _verification(self) -> UserVerificationRequirement:
        return (
            UserVerificationRequirement.REQUIRED
            if self.require_verification
            else UserVerificationRequirement.PREFERRED
        )

    def registration(
        self, user_id: str, name: str, challenge: bytes, known: Sequence[bytes]
    ) -> dict[str, Any]:
        """What `navigator.credentials.create` needs; devices of `known` refuse."""
        options = webauthn.generate_registration_options(
            rp_id=self.rp_id,
            rp_name=self.rp_name,
            user_id=user_id.encode(),
            user_name=name,
            challenge=challenge,
            exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
            authenticator_selection=AuthenticatorSelectionCriteria(
                user_verification=self._verification
            ),
        )
        return _as_json(options)

    def authentication(self, challenge: bytes, known: Sequence[bytes]) -> dict[str, Any]:
        """What `navigator.credentials.get` needs, for one of the known ones."""
        options = webauthn.generate_authentication_options(
            rp_id=self.rp_id,
            challenge=challenge,
            allow_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
            user_verification=self._verification,
        )
        return _as_json(options)

    def registered(self, credential: Mapping[str, Any], challenge: bytes) -> "Registered":
        """A new passkey.

        Raises:
            Refused: it is not good; says why.
        """
        try:
            made = webauthn.verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=list(self.origins),
                require_user_verification=self.require_verification,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            raise Refused(_words(error)) from None
        return Registered(
            made.credential_id,
            made.credential_public_key,
            made.sign_count,
            made.credential_backed_up,
        )

    def used(
        self,
        credential: Mapping[str, Any],
        challenge: bytes,
        *,
        public_key: bytes,
        sign_count: int,
    ) -> "Used":
        """A use of a passkey.

        Raises:
            Refused: it is not good, or its counter went back; says why.
        """
        try:
            made = webauthn.verify_authentication_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=list(self.origins),
                credential_public_key=public_key,
                # The counter is looked at below, where it can be told what it means.
                credential_current_sign_count=0,
                require_user_verification=self.require_verification,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            raise Refused(_words(error)) from None
        if (made.new_sign_count or sign_count) and made.new_sign_count <= sign_count:
            raise Refused("its counter went back: somebody may have a copy of this passkey")
        return Used(made.new_sign_count, made.credential_backed_up)


@dataclass(frozen=True)
class Registered:
    """A new passkey."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    backed_up: bool


@dataclass(frozen=True)
class Used:
    """What a passkey says of itself when it is used."""

    sign_count: int
    backed_up: bool


def challenge_of(credential: Mapping[str, Any]) -> bytes:
    """The challenge that was signed, as the device says.

    Raises:
        Refused: it does not say so.
    """
    try:
        client_data = base64url_to_bytes(credential["response"]["clientDataJSON"])
        return parse_client_data_json(client_data).challenge
    except (WebAuthnException, ValueError, KeyError, TypeError):
        raise Refused("what the browser says of it cannot be read") from None


def id_of(credential: Mapping[str, Any]) -> bytes:
    """Id of the passkey that was used.

    Raises:
        Refused: it is none.
    """
    try:
        return base64url_to_bytes(credential["rawId"])
    except (ValueError, KeyError, TypeError):
        raise Refused("it has no id") from None


def _as_json(options: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(options_to_json(options))
    return read


def _words(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])
