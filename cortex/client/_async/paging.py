"""Lists that the asynchronous client reads to their end, page by page."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from cortex.client._routes.call import Call, Page
from cortex.client.transport import AsyncTransport

T = TypeVar("T")


async def every_entry(
    transport: AsyncTransport,
    page_from: Callable[[str | None], Call[Page[T]]],
    *,
    cursor: str | None = None,
) -> AsyncIterator[T]:
    """What is on the pages of a list, in their order.

    Args:
        transport: Who sends the calls.
        page_from: The call for the page that begins at a cursor; None: for the first.
        cursor: Where to begin.
    """
    while True:
        page = await transport.call(page_from(cursor))
        for entry in page.items:
            yield entry
        cursor = page.next_cursor
        # The list of events has a cursor for what comes later, on its last page too.
        if cursor is None or not page.items:
            return
