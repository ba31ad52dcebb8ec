"""The part of the blocking client that is about events."""
# Made from _async/events.py by `make format`; change that one.

from collections.abc import Iterator
from functools import partial
from typing import Literal

from cortex.client._routes import events as routes
from cortex.client._sync.paging import every_entry
from cortex.client.transport import Transport
from cortex.schemas.events import EventView


class EventCalls:
    """What `Cortex` can do with events."""

    _transport: Transport

    def events(
        self,
        job_id: str | None = None,
        *,
        follow: bool = False,
        after: str | None = None,
        start: Literal["start", "now"] = "start",
    ) -> Iterator[EventView]:
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
            yield from self._transport.follow(stream)
            return
        pages = partial(routes.event_page, job_id)
        yield from every_entry(self._transport, pages, cursor=after)
