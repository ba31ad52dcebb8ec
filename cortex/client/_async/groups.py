"""The part of the asynchronous client that is about groups."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from cortex.client._async.paging import every_entry
from cortex.client._async.waiting import until_ended
from cortex.client._routes import groups as routes
from cortex.client._routes.groups import Group, GroupFilter, MemberFilter
from cortex.client.errors import GroupWaitTimeout
from cortex.client.transport import AsyncTransport
from cortex.schemas.events import EventView
from cortex.schemas.groups import GroupPage, GroupSummary, GroupValidation, GroupView, MemberView

_ALL = GroupFilter()
_EVERY = MemberFilter()


class AsyncGroupCalls:
    """What `AsyncCortex` can do with groups."""

    _transport: AsyncTransport
    _project: str | None

    async def submit_group(
        self, spec: Group, *, project: str | None = None, idempotency_key: str | None = None
    ) -> GroupView:
        """Hand in several jobs as one: all are accepted, or none.

        It is accepted once, however often the request had to be sent.

        Args:
            spec: A `GroupSpec`, or a mapping of its form.
            project: Where it belongs; None: where this client's submissions go.
            idempotency_key: Your own, to make the call itself repeatable; None: a new one.
        """
        key = idempotency_key or str(uuid4())
        return await self._transport.call(routes.submit(spec, key, project or self._project))

    async def validate_group(self, spec: Group, *, project: str | None = None) -> GroupValidation:
        """What the jobs of a group spec become, and what they may cost; nothing is submitted.

        Args:
            spec: A `GroupSpec`, or a mapping of its form.
            project: Whose secrets it may refer to; None: where this client's submissions go.
        """
        return await self._transport.call(routes.validate(spec, project or self._project))

    async def group(
        self,
        group_id: str,
        which: MemberFilter = _EVERY,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> GroupView:
        """One group with a page of its members.

        Args:
            group_id: Its id.
            which: Members that the page is about.
            limit: Members per page, from 0 to 1,000.
            cursor: `members.next_cursor` of the page before.
        """
        call = routes.group(group_id, which, limit=limit, cursor=cursor)
        return await self._transport.call(call)

    async def iter_members(
        self, group_id: str, which: MemberFilter = _EVERY, *, page_size: int = 200
    ) -> AsyncIterator[MemberView]:
        """The members of a group in the order of its spec, page by page."""
        pages = partial(routes.members, group_id, which, page_size)
        async for member in every_entry(self._transport, pages):
            yield member

    async def groups(
        self, which: GroupFilter = _ALL, *, limit: int = 100, cursor: str | None = None
    ) -> GroupPage:
        """One page of groups, newest first.

        Args:
            which: The filter.
            limit: Groups per page.
            cursor: `next_cursor` of the page before.
        """
        return await self._transport.call(routes.groups(which, limit, cursor))

    async def iter_groups(
        self, which: GroupFilter = _ALL, *, page_size: int = 100
    ) -> AsyncIterator[GroupSummary]:
        """All groups that match, newest first, page by page."""
        pages = partial(routes.groups, which, page_size)
        async for group in every_entry(self._transport, pages):
            yield group

    async def iter_group_fields(
        self, fields: Sequence[str], which: GroupFilter = _ALL, *, page_size: int = 500
    ) -> AsyncIterator[dict[str, Any]]:
        """Some fields of all groups that match, newest first.

        Args:
            fields: Such as `id`, `name`, `state`: names of fields of `GroupSummary`.
            which: The filter.
            page_size: Groups per request.
        """
        pages = partial(routes.group_fields, which, fields, page_size)
        async for entry in every_entry(self._transport, pages):
            yield entry

    async def cancel_group(self, group_id: str, *, reason: str = "") -> GroupView:
        """Ask for the end of a group: none of it starts any more, and what runs is cancelled."""
        return await self._transport.call(routes.cancel(group_id, reason))

    async def wait_group(self, group_id: str, *, timeout: float | None = None) -> GroupView:
        """Wait for a group's end, without polling; a server that restarts meanwhile is no trouble.

        Args:
            group_id: Its id.
            timeout: Seconds; None: as long as it takes.

        Raises:
            GroupWaitTimeout: it has not ended by then.
        """
        return await until_ended(
            self._transport,
            routes.group(group_id, _EVERY, limit=100),
            routes.event_stream(group_id, after=None, start="now"),
            timeout=timeout,
            too_late=GroupWaitTimeout,
        )

    async def group_events(
        self,
        group_id: str,
        *,
        follow: bool = False,
        after: str | None = None,
        start: Literal["start", "now"] = "start",
    ) -> AsyncIterator[EventView]:
        """Events of a group and of all its members, in their order.

        Args:
            group_id: Its id.
            follow: Go on until the group has ended. A lost connection is made anew and resumed.
            after: Begin after this `cortexposition`.
            start: Where to begin without `after`: with the first event, or with the next one.
        """
        if follow:
            stream = routes.event_stream(group_id, after=after, start=start)
            async for event in self._transport.follow(stream):
                yield event
            return
        pages = partial(routes.event_page, group_id)
        async for event in every_entry(self._transport, pages, cursor=after):
            yield event
