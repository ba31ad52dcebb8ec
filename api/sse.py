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
from cortex.services.accounts.authentication import Authenticator
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
    authenticator: Authenticator = scope["app"].state.services.authenticator
    loop = asyncio.get_running_loop()
    seen, looked, changes = caller_of(scope).projects(Action.JOBS_READ), loop.time(), 0
    async for batch in batches:
        if changes != authenticator.changes or loop.time() - looked >= _LOOK_EVERY:
            looked, changes = loop.time(), authenticator.changes
            try:
                if (await again_of(scope)()).projects(Action.JOBS_READ) != seen:
                    return
            except NotAuthenticated:
                return
            except CortexError:
                changes = 0  # it cannot be told now: look again soon
        yield batch


async def _frames(batches: AsyncIterator[Batch]) -> AsyncIterator[bytes]:
    yield _HELLO
    async for batch in batches:
        yield b"".join(map(_frame, batch)) if batch else _KEEP_ALIVE


def _frame(item: Item) -> bytes:
    place = f"id: {item.id}\n".encode() if item.id else b""
    return b"event: %b\n%bdata: %b\n\n" % (item.event.encode(), place, item.data)
