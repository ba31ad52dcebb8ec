"""How the asynchronous client waits for the end of a job or group, without polling."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from cortex.client._routes.call import Call, Ending
from cortex.client.streams import Stream
from cortex.client.transport import AsyncTransport
from cortex.schemas.events import EventView

EndingT = TypeVar("EndingT", bound=Ending)


async def until_ended(
    transport: AsyncTransport,
    call: Call[EndingT],
    events: Stream[EventView],
    *,
    timeout: float | None,
    too_late: Callable[[EndingT, float], Exception],
) -> EndingT:
    """Follow the events of what `call` reads, until its state is a last one.

    Args:
        transport: Who sends and follows.
        call: Reads it.
        events: Its own: the stream ends with it.
        timeout: Seconds; None: as long as it takes.
        too_late: The error of one that has not ended by then, as it was seen last.

    Raises:
        Exception: what `too_late` makes.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    seen = await transport.call(call)
    while not seen.state.terminal:
        if timeout is not None and deadline is not None and time.monotonic() >= deadline:
            raise too_late(seen, timeout)
        async for _ in transport.follow(events, deadline=deadline):
            pass
        seen = await transport.call(call, patient=True)
        if not seen.state.terminal:
            await asyncio.sleep(0.05)
    return seen
