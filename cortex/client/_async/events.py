"""The part of the asynchronous client that is about events."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Literal

from cortex.client._async.paging import every_entry
from cortex.client._routes import events as routes
from cortex.client.transport import AsyncTransport
from cortex.schemas.events import EventView


class AsyncEventCalls:
    """What `AsyncCortex` can do with events."""

    _transport: AsyncTransport

    async def events(
        self,
        job_id: str | None = None,
        *,
        follow: bool = False,
        after: str | None = None,
        start: Literal["start", "now"] = "start",
    ) -> AsyncIterator[EventView]:
        """Events in their order.

        Args:
            job_id: Only those of this job; None: of all.
            follow: Wait for more: until the job has ended, or for ever. A lost connection is made
                anew and resumed, so that none is missing and none comes twice.
            after: Begin after this `cortexposition`.
            start: Where to begin without `after`: with the first event, or with the next one.
        """
        if follow:
            stream = routes.event_stream(job_id, after=after, start=start)
            async for event in self._transport.follow(stream):
                yield event
            return
        pages = partial(routes.event_page, job_id)
        async for event in every_entry(self._transport, pages, cursor=after):
            yield event
