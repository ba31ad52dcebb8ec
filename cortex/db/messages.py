"""Messages to single persons: stored with what they tell of, claimed, sent, given up."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, insert, select, text, update

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.messages import MessageRow
from cortex.domain.messages import Channel, MessageKind, MessageState, Outcome

CHANNEL: Final = "cortex_messages"
"""Told when there is something to send."""

_PENDING: Final = MessageState.PENDING.value
_LONGEST_ERROR: Final = 300

_NEXT_IN: Final = text(f"SELECT min(due_at) - now() FROM messages WHERE state = '{_PENDING}'")

_CLAIM: Final = text(f"""
WITH chosen AS MATERIALIZED (
    SELECT id FROM messages WHERE state = '{_PENDING}' AND due_at <= now()
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)
UPDATE messages AS m SET claim = :claim, due_at = now() + CAST(:lease AS interval)
FROM chosen WHERE m.id = chosen.id
RETURNING m.id, m.recipient, m.channel, m.kind, m.sealed, m.attempts, m.created_at,
    m.give_up_at <= now() AS late
""")


@dataclass(frozen=True)
class ClaimedMessage:
    """A message that this worker is to send.

    Attributes:
        sealed: Its content, encrypted.
        attempts: How often it was tried in vain.
        late: It is not worth sending any more.
    """

    id: str
    claim: str
    recipient: str
    channel: Channel
    kind: MessageKind
    sealed: bytes
    attempts: int
    created_at: datetime
    late: bool


class MessageRepository(Repository[Access]):
    async def add(
        self: "MessageRepository[Writes]",
        message_id: str,
        recipient: str,
        channel: Channel,
        kind: MessageKind,
        sealed: bytes,
        give_up_at: datetime,
    ) -> None:
        """Store a message, in the transaction of what it tells of; a trigger wakes who sends it."""
        await self.connection.execute(
            insert(MessageRow).values(
                id=message_id,
                recipient=recipient,
                channel=channel.value,
                kind=kind.value,
                sealed=sealed,
                give_up_at=give_up_at,
            )
        )

    async def void(
        self: "MessageRepository[Writes]",
        recipient: str,
        kinds: Collection[MessageKind],
        why: str,
    ) -> None:
        """Give up what is on its way to somebody."""
        await self.connection.execute(
            update(MessageRow)
            .where(
                MessageRow.recipient == recipient,
                MessageRow.kind.in_([kind.value for kind in kinds]),
                MessageRow.state == _PENDING,
            )
            .values(
                state=MessageState.DEAD.value,
                sealed=None,
                claim=None,
                due_at=None,
                error=why,
                ended_at=NOW,
            )
        )

    async def next_in(self) -> timedelta | None:
        """How long until something is due; None: nothing waits."""
        return (await self.connection.execute(_NEXT_IN)).scalar_one_or_none()

    async def claim(
        self: "MessageRepository[Transacts]", claim: str, lease: timedelta, *, limit: int
    ) -> list[ClaimedMessage]:
        """Take messages that are due; others pass over them.

        What is not ended within `lease` is due again.
        """
        values = {"claim": claim, "lease": lease, "limit": limit}
        rows = (await self.connection.execute(_CLAIM, values)).all()
        return [
            ClaimedMessage(
                id=row.id,
                claim=claim,
                recipient=row.recipient,
                channel=Channel(row.channel),
                kind=MessageKind(row.kind),
                sealed=bytes(row.sealed),
                attempts=row.attempts,
                created_at=row.created_at,
                late=row.late,
            )
            for row in rows
        ]

    async def end(
        self: "MessageRepository[Writes]",
        message: ClaimedMessage,
        state: MessageState,
        error: str = "",
    ) -> bool:
        """Write down its end, and forget what it held; False: somebody else has it by now."""
        return await self._close(
            message,
            {"state": state.value, "sealed": None, "due_at": None, "ended_at": NOW},
            error,
        )

    async def again(
        self: "MessageRepository[Writes]", message: ClaimedMessage, wait: timedelta, error: str
    ) -> bool:
        """Let it be due after `wait`; False: somebody else has it by now."""
        return await self._close(message, {"due_at": func.now() + wait}, error)

    async def _close(
        self: "MessageRepository[Writes]",
        message: ClaimedMessage,
        values: dict[str, object],
        error: str,
    ) -> bool:
        statement = (
            update(MessageRow)
            .where(
                MessageRow.id == message.id,
                MessageRow.claim == message.claim,
                MessageRow.state == _PENDING,
            )
            .values(
                **values,
                claim=None,
                attempts=MessageRow.attempts + 1,
                error=error[:_LONGEST_ERROR],
            )
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def last(self, recipient: str, channel: Channel) -> Outcome | None:
        """What became of the newest message to somebody over a channel; None: there was none."""
        query = (
            select(
                MessageRow.state,
                MessageRow.error,
                func.coalesce(MessageRow.ended_at, MessageRow.created_at),
            )
            .where(MessageRow.recipient == recipient, MessageRow.channel == channel.value)
            .order_by(MessageRow.created_at.desc(), MessageRow.id.desc())
            .limit(1)
        )
        row = (await self.connection.execute(query)).first()
        return None if row is None else Outcome(MessageState(row[0]), row[1], row[2])

    async def expire(self: "MessageRepository[Writes]", older_than: timedelta) -> int:
        """Delete messages that ended longer ago; returns how many."""
        statement = delete(MessageRow).where(MessageRow.ended_at < func.now() - older_than)
        return int((await self.connection.execute(statement)).rowcount)
