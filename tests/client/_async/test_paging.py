"""Lists in pages: each entry once, in order, and no question after the last page."""

import json
from urllib.parse import parse_qs, urlsplit

from cortex.client import AsyncCortex, Cortex
from tests.client.conftest import Stub, reply


def page(*positions: str, cursor: str | None) -> bytes:
    events = [
        {
            "specversion": "1.0",
            "id": position,
            "source": "cortex",
            "type": "cortex.job.accepted",
            "subject": "job_1",
            "time": "2026-11-29T00:00:00Z",
            "cortexposition": position,
            "data": {},
        }
        for position in positions
    ]
    return reply(200, json.dumps({"items": events, "next_cursor": cursor}))


def cursors(stub: Stub) -> list[list[str] | None]:
    """Where each question asked to begin."""
    return [parse_qs(urlsplit(request.target).query).get("after") for request in stub.seen]


async def listed(stub: Stub, after: str | None = None) -> list[str]:
    async with AsyncCortex(stub.url, "k") as cortex:
        return [event.cortexposition async for event in cortex.events(after=after)]


class TestEveryEntry:
    async def test_a_page_without_a_cursor_is_the_last(self, stub: Stub) -> None:
        stub.replies = [page("1", "2", cursor="2"), page("3", cursor=None)]
        assert await listed(stub) == ["1", "2", "3"]
        assert cursors(stub) == [None, ["2"]]

    async def test_a_page_without_entries_is_the_last(self, stub: Stub) -> None:
        """The cursor of events says where those that are still to come will begin."""
        stub.replies = [page("1", cursor="1"), page(cursor="1")]
        assert await listed(stub) == ["1"]
        assert cursors(stub) == [None, ["1"]]

    async def test_it_begins_at_the_cursor_it_is_given(self, stub: Stub) -> None:
        stub.replies = [page("8", cursor=None)]
        assert await listed(stub, after="7") == ["8"]
        assert cursors(stub) == [["7"]]

    def test_the_blocking_client_does_the_same(self, stub: Stub) -> None:
        stub.replies = [page("1", "2", cursor="2"), page("3", cursor=None)]
        with Cortex(stub.url, "k") as cortex:
            assert [event.cortexposition for event in cortex.events()] == ["1", "2", "3"]
        assert cursors(stub) == [None, ["2"]]
