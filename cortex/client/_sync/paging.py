"""Lists that the blocking client reads to their end, page by page."""
# Made from _async/paging.py by `make format`; change that one.

from collections.abc import Callable, Iterator
from typing import TypeVar

from cortex.client._routes.call import Call, Page
from cortex.client.transport import Transport

T = TypeVar("T")


def every_entry(
    transport: Transport,
    page_from: Callable[[str | None], Call[Page[T]]],
    *,
    cursor: str | None = None,
) -> Iterator[T]:
    """What is on the pages of a list, in their order.

    Args:
        transport: Who sends the calls.
        page_from: The call for the page that begins at a cursor; None: for the first.
        cursor: Where to begin.
    """
    while True:
        page = transport.call(page_from(cursor))
        yield from page.items
        cursor = page.next_cursor
        # The list of events has a cursor for what comes later, on its last page too.
        if cursor is None or not page.items:
            return
