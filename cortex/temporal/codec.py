"""Payloads in Temporal, encrypted under the key ring.

The form is that of the samples of Temporal's SDKs: `encoding: binary/encrypted` and the id of the
key in the metadata. The whole payload is encrypted, its own metadata too. What is in clear is read
as it is, so that runs from before, and recorded histories, go on.

Search attributes do not pass here: Temporal has to compare them. Neither do names: of workflows,
activities, signals, queues and types of errors.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)

from cortex.domain.errors import CortexError
from cortex.security.keyring import KeyRing
from cortex.security.places import PAYLOADS

ENCODING: Final = "encoding"
ENCRYPTED: Final = b"binary/encrypted"
KEY_ID: Final = "encryption-key-id"


class EncryptingCodec(PayloadCodec):
    """Encrypts with the newest key, and reads with every key of the ring.

    Args:
        keyring: The keys.
        encrypt: Whether what is new is encrypted; else it stays in clear.
    """

    def __init__(self, keyring: KeyRing, *, encrypt: bool) -> None:
        self._keyring = keyring
        self._encrypt = encrypt

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypted, unless they are already."""
        return [self._sealed(payload) if self._encrypt else payload for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """In clear.

        Raises:
            CortexError: the key of one is not in the ring, or it was changed.
        """
        return [self._opened(payload) for payload in payloads]

    async def decode_what_can_be(self, payloads: Sequence[Payload]) -> list[Payload]:
        """In clear, but those as they are that cannot be opened: for whoever only looks."""
        opened: list[Payload] = []
        for payload in payloads:
            try:
                opened.append(self._opened(payload))
            except CortexError:
                opened.append(payload)
        return opened

    def _sealed(self, payload: Payload) -> Payload:
        key = self._keyring.newest
        if is_encrypted(payload) or key is None:
            return payload
        data = self._keyring.seal(payload.SerializeToString(), PAYLOADS)
        return Payload(metadata={ENCODING: ENCRYPTED, KEY_ID: key.encode()}, data=data)

    def _opened(self, payload: Payload) -> Payload:
        if not is_encrypted(payload):
            return payload
        plain = self._keyring.open(payload.data, PAYLOADS)
        try:
            return Payload.FromString(plain)
        except DecodeError:
            raise CortexError("what was encrypted is no payload of Temporal") from None


def is_encrypted(payload: Payload) -> bool:
    """Whether a payload says that it is encrypted."""
    return payload.metadata.get(ENCODING) == ENCRYPTED


def data_converter(keyring: KeyRing, *, encrypt: bool) -> DataConverter:
    """How every client of Cortex turns values into payloads, and back.

    Raises:
        CortexError: they are to be encrypted, and there is no key.
    """
    if encrypt and keyring.newest is None:
        raise CortexError(
            "`temporal.encrypt_payloads` needs `encryption_keys`: set them, or turn it off"
        )
    if keyring.newest is None:
        return pydantic_data_converter
    plain = replace(
        pydantic_data_converter, payload_codec=EncryptingCodec(keyring, encrypt=encrypt)
    )
    if not encrypt:
        return plain
    # Messages and traces of errors are payloads then.
    return replace(plain, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
