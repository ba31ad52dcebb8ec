"""Server-sent events (the WHATWG format) from what `cortex.services.events.streams` makes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Scope

from api.access import again_of, caller_of
from cortex.domain.errors import CortexError, NotAuthenticated
from cortex.domain.rights import Action
from cortex.services.events.streams import Batch, Item

_LOOK_EVERY: Final = 10.0
_KEEP_ALIVE = b": keep-alive\n\n"
# A comment, so that the client sees at once that it is connected.
_HELLO = b": connected\n\n"


def sse_response(batches: AsyncIterator[Batch], request: Request) -> StreamingResponse:
    """An answer that sends the items as they come, for as long as the client may have them."""
    return StreamingResponse(
        _frames(_while_allowed(batches, request.scope)),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )


async def _while_allowed(batches: AsyncIterator[Batch], scope: Scope) -> AsyncIterator[Batch]:
    """Ends when the key is revoked, or the client may see less: connecting again tells it why."""
    loop = asyncio.get_running_loop()
    looked, seen = loop.time(), caller_of(scope).projects(Action.JOBS_READ)
    async for batch in batches:
        yield batch
        if loop.time() - looked < _LOOK_EVERY:
            continue
        looked = loop.time()
        try:
            if (await again_of(scope)()).projects(Action.JOBS_READ) != seen:
                return
        except NotAuthenticated:
            return
        except CortexError:
            continue  # it cannot be told now


async def _frames(batches: AsyncIterator[Batch]) -> AsyncIterator[bytes]:
    yield _HELLO
    async for batch in batches:
        yield b"".join(map(_frame, batch)) if batch else _KEEP_ALIVE


def _frame(item: Item) -> bytes:
    place = f"id: {item.id}\n".encode() if item.id else b""
    return b"event: %b\n%bdata: %b\n\n" % (item.event.encode(), place, item.data)
