"""What Temporal keeps of a workflow, made readable: for whoever looks, not for whoever runs it.

What cannot be opened, since its key is not in the ring, stays as it is.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from cortex.temporal.codec import EncryptingCodec

_FAILURES: Final = ("failure", "last_failure")


async def clear_payloads(
    converter: DataConverter, payloads: Sequence[Payload]
) -> Sequence[Payload]:
    """The same payloads in clear."""
    codec = converter.payload_codec
    if not isinstance(codec, EncryptingCodec):
        return payloads
    return await codec.decode_what_can_be(payloads)


async def clear_failure(converter: DataConverter, failure: Failure) -> None:
    """Let a failure and its causes say their messages."""
    while True:
        if failure.HasField("encoded_attributes"):
            (attributes,) = await clear_payloads(converter, [failure.encoded_attributes])
            _tell(failure, attributes)
        if not failure.HasField("cause"):
            return
        failure = failure.cause


async def clear_event(converter: DataConverter, event: HistoryEvent) -> None:
    """Make readable what the explorer reads of an event: inputs, failures, details of markers."""
    if not isinstance(converter.payload_codec, EncryptingCodec):
        return
    kind = event.WhichOneof("attributes")
    told: Any = getattr(event, kind) if kind is not None else None
    if told is None:
        return
    fields = told.DESCRIPTOR.fields_by_name
    for name in _FAILURES:
        if name in fields and told.HasField(name):
            await clear_failure(converter, getattr(told, name))
    if "input" in fields:
        await _clear(converter, told.input)
    if kind == "marker_recorded_event_attributes":
        for payloads in told.details.values():
            await _clear(converter, payloads)


async def _clear(converter: DataConverter, wrapper: Payloads) -> None:
    clear = await clear_payloads(converter, wrapper.payloads)
    del wrapper.payloads[:]
    wrapper.payloads.extend(clear)


def _tell(failure: Failure, attributes: Payload) -> None:
    try:
        content = orjson.loads(attributes.data)
    except orjson.JSONDecodeError:
        return
    if isinstance(content, dict) and isinstance(content.get("message"), str):
        failure.message = content["message"]
