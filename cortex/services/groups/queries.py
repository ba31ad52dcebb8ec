"""What the API reads of groups. They come as finished JSON."""

from collections.abc import Collection, Sequence

from cortex.db.engine import Database
from cortex.db.groups.views import GroupFilter, GroupReads, MemberFilter
from cortex.schemas.events import EventPage
from cortex.services.events.scopes import OfGroup
from cortex.services.pagination import decode_cursor, encode_cursor
from cortex.services.views import event_view, render, temporal_url
from cortex.settings import Settings


class GroupQueries:
    """Reads of groups."""

    def __init__(self, database: Database, groups: GroupReads, settings: Settings) -> None:
        self._database = database
        self._groups = groups
        self._settings = settings

    async def page(
        self,
        where: GroupFilter,
        *,
        cursor: str | None,
        limit: int,
        fields: Collection[str] | None = None,
    ) -> str:
        """A `GroupPage`, newest first; with some `fields` of each group only, or with all.

        Raises:
            InvalidRequest: `cursor` is none of ours.
        """
        page = await self._groups.page(
            where, before=decode_cursor(cursor), limit=limit, fields=fields
        )
        place = f'"{encode_cursor(page.last)}"' if page.last else "null"
        return f'{{"items":[{page.items}],"next_cursor":{place}}}'

    async def group(self, group_id: str, where: MemberFilter, *, limit: int) -> str:
        """A `GroupView` with a page of its members.

        Raises:
            NotFound: there is no such group.
        """
        stored = await self._groups.group(group_id)
        members = await self.members(group_id, where, limit=limit)
        url = render(temporal_url(self._settings.temporal, group_id)).decode()
        return f'{stored[:-1]},"members":{members},"temporal_url":{url}}}'

    async def members(self, group_id: str, where: MemberFilter, *, limit: int) -> str:
        """A `MemberPage`, in the order of the group's spec."""
        return (await self.members_of([group_id], where, limit=limit))[group_id]

    async def members_of(
        self, group_ids: Sequence[str], where: MemberFilter, *, limit: int
    ) -> dict[str, str]:
        """A `MemberPage` of each of these groups, by its id."""
        pages = await self._groups.members_of(group_ids, where, limit=limit)
        return {
            group_id: f'{{"items":[{",".join(items)}],"next_cursor":{_place(last)}}}'
            for group_id, (items, last) in pages.items()
        }

    async def groups(self, group_ids: Sequence[str]) -> str:
        """A JSON array of those of these groups that are there: each a `GroupView` without members
        and link, in any order.
        """
        return f"[{','.join(await self._groups.groups(group_ids))}]"

    async def scope(self, group_id: str) -> OfGroup:
        """What a stream of its events covers.

        Raises:
            NotFound: there is no such group.
        """
        async with self._database.reading() as tx:
            await tx.group_reads.state(group_id)
            return OfGroup(group_id, await tx.group_reads.job_ids(group_id))

    async def events(self, group_id: str, *, after: str | None, limit: int) -> EventPage:
        """Events of the group and of its members after a position, oldest first.

        Raises:
            NotFound: there is no such group.
            InvalidRequest: `after` is no position.
        """
        async with self._database.reading() as tx:
            await tx.group_reads.state(group_id)
            events = await tx.events.group_page(group_id, after, limit=limit)
        return EventPage(
            items=tuple(event_view(event) for event in events),
            next_cursor=events[-1].position if events else None,
        )


def _place(last: str | None) -> str:
    return f'"{last}"' if last else "null"
