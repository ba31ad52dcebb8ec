"""Makes a notice of each event for each person who wants it and may see it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from cortex.db.engine import Database, Transaction
from cortex.db.notices.happenings import MemberCount, NewNotice
from cortex.domain.events import EventType
from cortex.domain.notices import Occurrence, wants
from cortex.domain.spec.notify import ME
from cortex.notices.people import People, chosen_of, may_see
from cortex.settings import NoticeSettings

_PAGE: Final = 500
_LONGEST_TEXT: Final = 600


class NoticeFanout:
    """Looks at events, from one worker at a time."""

    def __init__(self, database: Database, people: People, settings: NoticeSettings) -> None:
        self._database = database
        self._people = people
        self._settings = settings

    async def round(self) -> bool | None:
        """Look at what there is; True: there is more, None: nobody can be told anything."""
        async with self._database.reading() as tx:
            if not (self._people.mails or await tx.preferences.has_chats()):
                return None
            if not await tx.notices.behind():
                return False
        async with self._database.transaction() as tx:
            position = await tx.notices.alone()
            if position is None:
                return False
            page = await tx.notices.page(position, _PAGE)
            settled = [event for event in page if event.settled]
            if not settled:
                return False
            oldest = datetime.now(UTC) - self._settings.max_age
            told = [
                event.occurrence
                for event in settled
                if event.occurrence is not None
                and event.occurrence.is_told
                and event.occurrence.time >= oldest
            ]
            if told:
                await tx.notices.add(await self._notices(tx, told))
            await tx.notices.move(settled[-1].position)
        return len(settled) == _PAGE

    async def _notices(self, tx: Transaction, told: list[Occurrence]) -> list[NewNotice]:
        members = await tx.preferences.members({each.project for each in told})
        for name in _named_besides(told):
            members[name] = set(await tx.projects.memberships(name))
        names = {each.owner for each in told} | members.keys()
        stored = await tx.preferences.find(names)
        made: list[NewNotice] = []
        texts: dict[str, str] = {}
        for name in sorted(names):
            chosen = chosen_of(stored.get(name))
            wanted = [each for each in told if wants(name, chosen, each, members.get(name, ()))]
            channels = await self._people.channels(tx, name, chosen) if wanted else []
            by = await self._people.principal(tx, name) if channels else None
            if by is None:
                continue
            for occurrence in wanted:
                if not may_see(by, occurrence):
                    continue
                if occurrence.id not in texts:
                    texts[occurrence.id] = await _text(tx, occurrence)
                text = texts[occurrence.id]
                made += [NewNotice(name, channel, text, occurrence) for channel in channels]
        return made


def _named_besides(told: Iterable[Occurrence]) -> set[str]:
    """Everybody whom a spec names, other than its owner."""
    names: set[str] = set()
    for each in told:
        if each.notify is not None:
            names |= set(each.notify.to) - {ME, each.owner}
    return names


async def _text(tx: Transaction, occurrence: Occurrence) -> str:
    """What it says of itself; at the end of a group how its jobs have ended."""
    data = occurrence.data
    parts = [str(data[name]) for name in ("message", "next") if data.get(name)]
    if occurrence.type is EventType.GROUP_STATE_CHANGED:
        counts = await tx.notices.members(occurrence.subject)
        parts.append(_counted(counts))
    return "; ".join(parts)[:_LONGEST_TEXT]


def _counted(counts: list[MemberCount]) -> str:
    told = ", ".join(f"{each.number} {each.state}" for each in counts)
    failed = next((each for each in counts if each.state == "failed"), None)
    if failed is None:
        return f"jobs: {told}"
    more = "" if failed.number <= len(failed.names) else ", …"
    return f"jobs: {told} ({', '.join(failed.names)}{more})"
