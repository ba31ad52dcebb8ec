"""Server-sent events (the WHATWG format) from what `cortex.services.events.streams` makes."""

from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from cortex.services.events.streams import Batch, Item

_KEEP_ALIVE = b": keep-alive\n\n"
# A comment, so that the client sees at once that it is connected.
_HELLO = b": connected\n\n"


def sse_response(batches: AsyncIterator[Batch]) -> StreamingResponse:
    """An answer that sends the items as they come."""
    return StreamingResponse(
        _frames(batches),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )


async def _frames(batches: AsyncIterator[Batch]) -> AsyncIterator[bytes]:
    yield _HELLO
    async for batch in batches:
        yield b"".join(map(_frame, batch)) if batch else _KEEP_ALIVE


def _frame(item: Item) -> bytes:
    place = f"id: {item.id}\n".encode() if item.id else b""
    return b"event: %b\n%bdata: %b\n\n" % (item.event.encode(), place, item.data)
