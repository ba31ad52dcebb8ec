"""Payloads of Temporal, decoded and encoded for its own tools."""

from temporalio.api.common.v1 import Payload

from cortex.schemas.temporal import PayloadJson, PayloadsJson
from cortex.security.keyring import KeyRing
from cortex.settings import TemporalSettings
from cortex.temporal.codec import EncryptingCodec


class Payloads:
    """Speaks the protocol of codec servers."""

    def __init__(self, keyring: KeyRing, settings: TemporalSettings) -> None:
        self._codec = EncryptingCodec(keyring, encrypt=settings.encrypt_payloads)

    async def decoded(self, sent: PayloadsJson) -> PayloadsJson:
        """In clear; those that cannot be opened stay as they are."""
        return _json(await self._codec.decode_what_can_be(_payloads(sent)))

    async def encoded(self, sent: PayloadsJson) -> PayloadsJson:
        """As a client of Cortex would send them."""
        return _json(await self._codec.encode(_payloads(sent)))


def _payloads(sent: PayloadsJson) -> list[Payload]:
    contents = [payload.content() for payload in sent.payloads]
    return [Payload(metadata=metadata, data=data) for metadata, data in contents]


def _json(payloads: list[Payload]) -> PayloadsJson:
    return PayloadsJson(
        payloads=tuple(PayloadJson.of(dict(payload.metadata), payload.data) for payload in payloads)
    )
