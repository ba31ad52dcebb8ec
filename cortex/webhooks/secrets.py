"""The secrets of one webhook, as they are sealed: one ciphertext for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from cortex.security.keyring import KeyRing
from cortex.security.places import webhook_place

_SECRET: Final = "secret"
_PREVIOUS: Final = "previous"
_HEADER: Final = "header:"


@dataclass(frozen=True)
class WebhookSecrets:
    """What nobody is shown.

    Attributes:
        secret: Signs.
        previous: The one before the last rotation.
        headers: Values of the headers that are sent along, by their names.
    """

    secret: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def sealed(self, keyring: KeyRing, webhook_id: str) -> bytes:
        """Encrypted for this webhook only.

        Raises:
            ServiceUnavailable: no encryption key is configured.
        """
        words = {_SECRET: self.secret}
        if self.previous is not None:
            words[_PREVIOUS] = self.previous
        words |= {f"{_HEADER}{name}": value for name, value in self.headers.items()}
        return keyring.encrypt(words, webhook_place(webhook_id), what="the secret of a webhook")

    @classmethod
    def opened(cls, keyring: KeyRing, sealed: bytes, webhook_id: str) -> Self:
        """Decrypted.

        Raises:
            CortexError: its key is not in the ring, or it was sealed for something else.
        """
        words = keyring.decrypt(sealed, webhook_place(webhook_id))
        headers = {
            name.removeprefix(_HEADER): value
            for name, value in words.items()
            if name.startswith(_HEADER)
        }
        return cls(words[_SECRET], words.get(_PREVIOUS), headers)
