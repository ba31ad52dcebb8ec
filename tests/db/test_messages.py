"""Messages that have ended are kept for a while, without what they held; then they go."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.messages import Channel, MessageKind, MessageState


async def test_what_has_ended_for_long_is_deleted(database: Database) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    async with database.transaction() as tx:
        for message_id in ("msg_old", "msg_new", "msg_open"):
            await tx.messages.add(
                message_id, "ann", Channel.EMAIL, MessageKind.NOTICE, b"\2k1sealed", later
            )
        claimed = await tx.messages.claim("c", timedelta(minutes=1), limit=5)
        for message in claimed:
            if message.id != "msg_open":
                assert await tx.messages.end(message, MessageState.DEAD, "x" * 1000)
        await tx.connection.execute(
            text("UPDATE messages SET ended_at = now() - interval '31 d' WHERE id = 'msg_old'")
        )
        assert await tx.messages.expire(timedelta(days=30)) == 1
        rows = await tx.connection.execute(text("SELECT id, sealed FROM messages ORDER BY id"))
        assert [tuple(row) for row in rows] == [("msg_new", None), ("msg_open", b"\2k1sealed")]
        last = await tx.messages.last("ann", Channel.EMAIL)
    assert last is not None
    assert len(last.error) <= 300
