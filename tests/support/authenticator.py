"""A device with passkeys, in software: what a security key does, as WebAuthn Level 2 says."""

import base64
import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

_PRESENT: Final = 0x01
_VERIFIED: Final = 0x04
_ATTESTED: Final = 0x40


@dataclass
class Authenticator:
    """One passkey, and what a test spoils about it.

    Attributes:
        origin: Of the page in which it is used.
        rp_id: Whose site it takes this for; None: what it is told.
        count: How often it was used; None: it does not count.
        present: Whether somebody touches it.
        kind: What the browser says it was asked for; None: what it was.
        other_challenge: Signed in place of the one that was sent.
    """

    origin: str = "http://localhost:8700"
    rp_id: str | None = None
    count: int | None = 0
    present: bool = True
    kind: str | None = None
    other_challenge: str | None = None
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    _key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def create(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What `navigator.credentials.create` gives for these options."""
        numbers = self._key.public_key().public_numbers()
        public = {
            1: 2,  # EC2
            3: -7,  # ES256
            -1: 1,  # P-256
            -2: numbers.x.to_bytes(32, "big"),
            -3: numbers.y.to_bytes(32, "big"),
        }
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id
        data = self._data(options["rp"]["id"], _ATTESTED) + attested + cbor2.dumps(public)
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._credential(
            clientDataJSON=self._client_data("webauthn.create", options["challenge"]),
            attestationObject=attestation,
        )

    def get(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What `navigator.credentials.get` gives for these options."""
        if self.count is not None:
            self.count += 1
        client_data = self._client_data("webauthn.get", options["challenge"])
        data = self._data(options["rpId"], 0)
        signed = data + hashlib.sha256(client_data).digest()
        return self._credential(
            clientDataJSON=client_data,
            authenticatorData=data,
            signature=self._key.sign(signed, ec.ECDSA(hashes.SHA256())),
        )

    def _credential(self, **response: bytes) -> dict[str, Any]:
        return {
            "id": encoded(self.credential_id),
            "rawId": encoded(self.credential_id),
            "type": "public-key",
            "response": {name: encoded(value) for name, value in response.items()},
            "clientExtensionResults": {},
            "authenticatorAttachment": "cross-platform",
        }

    def _data(self, rp_id: str, flags: int) -> bytes:
        flags |= _PRESENT | _VERIFIED if self.present else 0
        site = hashlib.sha256((self.rp_id or rp_id).encode()).digest()
        return site + struct.pack(">BI", flags, self.count or 0)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        content = {
            "type": self.kind or kind,
            "challenge": self.other_challenge or challenge,
            "origin": self.origin,
            "crossOrigin": False,
        }
        return json.dumps(content).encode()


def encoded(content: bytes) -> str:
    """In base64url, as WebAuthn writes bytes in JSON."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
