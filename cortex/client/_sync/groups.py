"""The part of the blocking client that is about groups."""
# Made from _async/groups.py by `make format`; change that one.

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from cortex.client._routes import groups as routes
from cortex.client._routes.groups import Group, GroupFilter, MemberFilter
from cortex.client._sync.paging import every_entry
from cortex.client._sync.waiting import until_ended
from cortex.client.errors import GroupWaitTimeout
from cortex.client.transport import Transport
from cortex.schemas.events import EventView
from cortex.schemas.groups import GroupPage, GroupSummary, GroupValidation, GroupView, MemberView

_ALL = GroupFilter()
_EVERY = MemberFilter()


class GroupCalls:
    """What `Cortex` can do with groups."""

    _transport: Transport
    _project: str | None

    def submit_group(
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
        return self._transport.call(routes.submit(spec, key, project or self._project))

    def validate_group(self, spec: Group, *, project: str | None = None) -> GroupValidation:
        """What the jobs of a group spec become, and what they may cost; nothing is submitted.

        Args:
            spec: A `GroupSpec`, or a mapping of its form.
            project: Whose secrets it may refer to; None: where this client's submissions go.
        """
        return self._transport.call(routes.validate(spec, project or self._project))

    def group(
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
        return self._transport.call(call)

    def iter_members(
        self, group_id: str, which: MemberFilter = _EVERY, *, page_size: int = 200
    ) -> Iterator[MemberView]:
        """The members of a group in the order of its spec, page by page."""
        pages = partial(routes.members, group_id, which, page_size)
        yield from every_entry(self._transport, pages)

    def groups(
        self, which: GroupFilter = _ALL, *, limit: int = 100, cursor: str | None = None
    ) -> GroupPage:
        """One page of groups, newest first.

        Args:
            which: The filter.
            limit: Groups per page.
            cursor: `next_cursor` of the page before.
        """
        return self._transport.call(routes.groups(which, limit, cursor))

    def iter_groups(
        self, which: GroupFilter = _ALL, *, page_size: int = 100
    ) -> Iterator[GroupSummary]:
        """All groups that match, newest first, page by page."""
        pages = partial(routes.groups, which, page_size)
        yield from every_entry(self._transport, pages)

    def iter_group_fields(
        self, fields: Sequence[str], which: GroupFilter = _ALL, *, page_size: int = 500
    ) -> Iterator[dict[str, Any]]:
        """Some fields of all groups that match, newest first.

        Args:
            fields: Such as `id`, `name`, `state`: names of fields of `GroupSummary`.
            which: The filter.
            page_size: Groups per request.
        """
        pages = partial(routes.group_fields, which, fields, page_size)
        yield from every_entry(self._transport, pages)

    def cancel_group(self, group_id: str, *, reason: str = "") -> GroupView:
        """Ask for the end of a group: none of it starts any more, and what runs is cancelled."""
        return self._transport.call(routes.cancel(group_id, reason))

    def wait_group(self, group_id: str, *, timeout: float | None = None) -> GroupView:
        """Wait for a group's end, without polling; a server that restarts meanwhile is no trouble.

        Args:
            group_id: Its id.
            timeout: Seconds; None: as long as it takes.

        Raises:
            GroupWaitTimeout: it has not ended by then.
        """
        return until_ended(
            self._transport,
            routes.group(group_id, _EVERY, limit=100),
            routes.event_stream(group_id, after=None, start="now"),
            timeout=timeout,
            too_late=GroupWaitTimeout,
        )

    def group_events(
        self,
        group_id: str,
        *,
        follow: bool = False,
        after: str | None = None,
        start: Literal["start", "now"] = "start",
    ) -> Iterator[EventView]:
        """Events of a group and of all its members, in their order.

        Args:
            group_id: Its id.
            follow: Go on until the group has ended. A lost connection is made anew and resumed.
            after: Begin after this `cortexposition`.
            start: Where to begin without `after`: with the first event, or with the next one.
        """
        if follow:
            stream = routes.event_stream(group_id, after=after, start=start)
            yield from self._transport.follow(stream)
            return
        pages = partial(routes.event_page, group_id)
        yield from every_entry(self._transport, pages, cursor=after)
