"""Keeps a manifest inside a lease's reference, readable only with the account's API key.

Between reserving and starting a job only its reference is passed on, perhaps to another process.
The same manifest is always sealed to the same text: its nonce is made from it.
"""

import base64
import hashlib
import hmac
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def seal(manifest: str, api_key: str, lease_key: str) -> str:
    """The manifest, encrypted and bound to its lease."""
    data = zlib.compress(manifest.encode(), 9)
    secret = _secret(api_key)
    nonce = hmac.new(secret, lease_key.encode() + b"\0" + data, hashlib.sha256).digest()[:12]
    sealed = AESGCM(secret).encrypt(nonce, data, lease_key.encode())
    return base64.urlsafe_b64encode(nonce + sealed).decode()


def unseal(text: str, api_key: str, lease_key: str) -> str | None:
    """The manifest again; None if it was sealed with another key of the account."""
    try:
        raw = base64.urlsafe_b64decode(text)
        data = AESGCM(_secret(api_key)).decrypt(raw[:12], raw[12:], lease_key.encode())
        return zlib.decompress(data).decode()
    except (ValueError, InvalidTag, zlib.error):
        return None


def _secret(api_key: str) -> bytes:
    return hashlib.sha256(b"cortex akash manifest\0" + api_key.encode()).digest()
