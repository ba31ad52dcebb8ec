"""Puts what waits to be told somebody into one message, however much it is."""

from collections import Counter
from datetime import UTC, datetime
from typing import Final

import structlog

from cortex.db.engine import Database, Transaction
from cortex.db.notices.happenings import Told
from cortex.domain.errors import CortexError
from cortex.domain.ids import new_id
from cortex.domain.messages import Channel, Content, MessageKind
from cortex.domain.notices import NoticeEvent
from cortex.notices.people import UNSUBSCRIBE, People, sees
from cortex.security.places import message_place
from cortex.settings import Settings

_AT_ONCE: Final = 100
_MOST_LINES: Final = 50
_LONGEST_CHAT: Final = 1500

_log = structlog.get_logger(__name__)


class Gathering:
    """Makes messages of notices. A message has its own way from then on."""

    def __init__(self, database: Database, people: People, settings: Settings) -> None:
        self._database = database
        self._people = people
        self._limits = settings.notices
        self._url = settings.api.public_url

    async def round(self) -> int:
        """Make the messages that are due; how many."""
        async with self._database.reading() as tx:
            ripe = await tx.notices.ripe(self._limits.gather, self._limits.gap, _AT_ONCE)
        made = 0
        for person, channel in ripe:
            try:
                async with self._database.transaction() as tx:
                    made += await self._gather(tx, person, channel)
            except CortexError as error:  # of this person only: others are told
                _log.error("notices.not_gathered", person=person, error=error.detail)
        return made

    async def _gather(self, tx: Transaction, person: str, channel: Channel) -> bool:
        chosen, secrets = await self._people.stored(tx, person)
        told = await tx.notices.take(person, channel)
        by = await self._people.principal(tx, person)
        # What one might see when it happened one may not be allowed to see any more.
        seen = [
            each
            for each in told
            if by is not None and sees(by, each.subject, each.owner, each.project)
        ]
        if not seen or channel not in await self._people.channels(tx, person, chosen):
            return False
        link = f"{self._url}{UNSUBSCRIBE}?token={secrets.token}" if self._url else ""
        if channel is Channel.EMAIL:
            to = await self._people.address(tx, person)
            content = Content(to, f"[Cortex] {subject_of(seen)}", _mail(seen, link), link)
        else:
            content = Content(secrets.chat, f"Cortex: {subject_of(seen)}", _chat(seen))
        message_id = new_id("msg")
        sealed = self._people.keyring.encrypt(
            content.words(), message_place(message_id), what="a notice"
        )
        give_up_at = datetime.now(UTC) + self._limits.give_up_after
        await tx.messages.add(message_id, person, channel, MessageKind.NOTICE, sealed, give_up_at)
        return True


def subject_of(told: list[Told]) -> str:
    """One line for all of them."""
    if len(told) == 1:
        return told[0].title
    counts = Counter(NoticeEvent(each.kind) for each in told)
    kinds = ", ".join(f"{number} {kind.value.replace('_', ' ')}" for kind, number in counts.items())
    return f"{len(told)} notices: {kinds}"


def _lines(told: list[Told], most: int) -> list[str]:
    lines: list[str] = []
    for each in told[:most]:
        lines.append(f"{each.title[:1].upper()}{each.title[1:]}.")
        if each.text:
            lines.append(f"    {' '.join(each.text.split())}")
        lines.append(f"    {each.time:%Y-%m-%d %H:%M:%S} UTC, project {each.project}: {each.see}")
        lines.append("")
    if len(told) > most:
        lines += [f"And {len(told) - most} more: `cortex jobs` shows yours.", ""]
    return lines


def _mail(told: list[Told], link: str) -> str:
    stop = (
        f"To get no notices any more, without logging in:\n{link}"
        if link
        else ("`cortex notices off` ends all notices.")
    )
    return "\n".join(
        [
            *_lines(told, _MOST_LINES),
            "-- ",
            "You are told of this by your settings, or because a job names you in `notify`.",
            "`cortex notices` shows and changes of what you are told.",
            stop,
        ]
    )


def _chat(told: list[Told]) -> str:
    return "\n".join(_lines(told, 10)).strip()[:_LONGEST_CHAT]
