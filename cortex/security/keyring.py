"""AES-256-GCM under a key ring: the newest key encrypts, every key decrypts."""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import SecretStr

from cortex.domain.errors import CortexError, ServiceUnavailable

_NONCE = 12


class KeyRing:
    """Encrypts small secrets, each bound to the place it is stored at."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys` from id to 32 bytes, newest first."""
        self._keys = dict(keys)
        self._current = next(iter(keys), None)

    @classmethod
    def from_setting(cls, setting: SecretStr | None) -> "KeyRing":
        """The ring of `Settings.encryption_keys`: `id:base64,id:base64`.

        Raises:
            CortexError: the setting is malformed.
        """
        keys: dict[str, bytes] = {}
        for entry in filter(None, (setting.get_secret_value() if setting else "").split(",")):
            name, _, encoded = entry.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                key = b""
            if not name or len(key) != 32:
                raise CortexError(
                    "`encryption_keys` must be `id:base64` of 32 bytes, comma-separated"
                )
            keys[name] = key
        return cls(keys)

    def encrypt(
        self, secrets: Mapping[str, str], place: str, *, what: str = "`secret_env`"
    ) -> bytes:
        """Encrypted secrets that decrypt only for the same `place` (such as a job id).

        Raises:
            ServiceUnavailable: no key is configured; `what` names the secrets.
        """
        return self.seal(json.dumps(dict(secrets)).encode(), place, what=what)

    def decrypt(self, blob: bytes, place: str) -> dict[str, str]:
        """The secrets.

        Raises:
            CortexError: the key is not in the ring, or the data is not what was stored there.
        """
        secrets: dict[str, str] = json.loads(self.open(blob, place))
        return secrets

    @property
    def newest(self) -> str | None:
        """Id of the key that encrypts; None: there is none."""
        return self._current

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all keys, the newest first."""
        return tuple(self._keys)

    def sealed_anew(self, blob: bytes, place: str) -> bytes:
        """The same secrets, encrypted with the newest key.

        Raises:
            CortexError: as `decrypt`.
            ServiceUnavailable: no key is configured.
        """
        return self.seal(self.open(blob, place), place)

    def seal(self, plain: bytes, place: str, *, what: str = "secrets") -> bytes:
        """Encrypted data that opens only for the same `place`; begins with the id of its key.

        Raises:
            ServiceUnavailable: no key is configured; `what` names the data.
        """
        if self._current is None:
            raise ServiceUnavailable(
                f"{what} cannot be stored: no `encryption_keys` are configured on the server"
            )
        nonce = os.urandom(_NONCE)
        name = self._current.encode()
        key = self._keys[self._current]
        sealed: bytes = _sealing().seal(key, nonce, plain, _bound(name, place))
        return bytes([len(name)]) + name + nonce + sealed

    def open(self, blob: bytes, place: str) -> bytes:
        """What was sealed for this `place`.

        Raises:
            CortexError: the key is not in the ring, or the data is not what was sealed there.
        """
        length = blob[0] if blob else 0
        name, rest = blob[1 : 1 + length], blob[1 + length :]
        key = self._keys.get(name.decode(errors="replace"))
        if key is None:
            raise CortexError(f"encryption key `{name.decode(errors='replace')}` is not configured")
        nonce, sealed = rest[:_NONCE], rest[_NONCE:]
        plain: bytes | None = _sealing().unseal(key, nonce, sealed, _bound(name, place))
        if plain is None:
            raise CortexError(f"the secrets of `{place}` cannot be decrypted")
        return plain


def _bound(name: bytes, place: str) -> bytes:
    return name + b"\0" + place.encode()


def _sealing() -> Any:
    return import_module("cortex.security.sealing")
