"""The outbox of what Temporal must be told: workflow starts and signals, in order per job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from sqlalchemy import delete, func, insert, select, text, update

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.direct import Direct
from cortex.db.tables.base import NOW
from cortex.db.tables.outbox import CommandRow

CHANNEL = "cortex_commands"
CommandKind = Literal["start", "cancel", "extend", "start_group", "nudge", "schedule", "backfill"]
"""`nudge` wakes the workflow of a job or group: it looks at the database and goes on from there.
`schedule` makes Temporal's schedule what the row is when it is carried out; in any order."""


@dataclass(frozen=True)
class Command:
    """One thing to tell the workflow of a job or of a group, or of a schedule."""

    id: int
    job_id: str | None
    kind: CommandKind
    payload: dict[str, Any]
    attempts: int
    group_id: str | None = None
    schedule_id: str | None = None

    @property
    def subject(self) -> str:
        """Whom it is about."""
        return self.job_id or self.group_id or self.schedule_id or ""


# Only the oldest open command of a job or group is taken, so that they stay in order.
_CLAIM: Final = Direct(
    text("""
UPDATE commands SET attempts = attempts + 1, due_at = now() + CAST(:lease AS interval)
WHERE id IN (
    SELECT id FROM commands AS due
    WHERE done_at IS NULL AND due_at <= now() AND NOT EXISTS (
        SELECT 1 FROM commands AS earlier
        WHERE (earlier.job_id = due.job_id OR earlier.group_id = due.group_id)
            AND earlier.done_at IS NULL AND earlier.id < due.id)
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING id, job_id, kind, payload, attempts, group_id, schedule_id
""")
)


class CommandRepository(Repository[Access]):
    async def add(
        self: "CommandRepository[Transacts]",
        job_id: str,
        kind: CommandKind,
        payload: dict[str, Any] | None = None,
        *,
        delay: timedelta = timedelta(0),
    ) -> int:
        """Remember that Temporal must be told; the relay wakes when the transaction commits."""
        ids = await self.add_many([(job_id, kind, payload or {})], delay=delay)
        return ids[0]

    async def add_for_group(
        self: "CommandRepository[Transacts]",
        group_id: str,
        kind: CommandKind,
        payload: dict[str, Any] | None = None,
    ) -> int:
        """The same for the workflow of a group."""
        statement = (
            insert(CommandRow)
            .values(group_id=group_id, kind=kind, payload=payload or {})
            .returning(CommandRow.id)
        )
        return int((await self.connection.execute(statement)).scalar_one())

    async def add_for_schedule(
        self: "CommandRepository[Transacts]",
        schedule_id: str,
        kind: Literal["schedule", "backfill"] = "schedule",
        payload: dict[str, Any] | None = None,
    ) -> None:
        """Have Temporal told how a schedule is now, or that a span is to be made up for."""
        await self.connection.execute(
            insert(CommandRow).values(schedule_id=schedule_id, kind=kind, payload=payload or {})
        )

    async def add_many(
        self: "CommandRepository[Transacts]",
        commands: Sequence[tuple[str, CommandKind, dict[str, Any]]],
        *,
        delay: timedelta = timedelta(0),
    ) -> list[int]:
        """Add several commands; their ids in the same order.

        `delay` keeps the relay from them for a while: for a writer that delivers them itself.
        """
        rows = [{"job_id": job, "kind": kind, "payload": data} for job, kind, data in commands]
        statement = (
            insert(CommandRow)
            .values(due_at=func.now() + delay)
            .returning(CommandRow.id, sort_by_parameter_order=True)
        )
        ids = list((await self.connection.execute(statement, rows)).scalars())
        return ids

    async def claim(
        self: "CommandRepository[Writes]", limit: int, lease: timedelta
    ) -> list[Command]:
        """Take due commands for `lease`; other relays pass over them meanwhile.

        Only the oldest open command of a job or group is taken, so that they stay in order.
        """
        rows = await _CLAIM.all(self.connection, {"limit": limit, "lease": lease})
        return sorted((Command(**row) for row in rows), key=lambda command: command.id)

    async def done(self: "CommandRepository[Writes]", ids: Sequence[int]) -> None:
        await self.connection.execute(
            update(CommandRow).where(CommandRow.id.in_(ids)).values(done_at=NOW, error=None)
        )

    async def failed(
        self: "CommandRepository[Writes]", command: Command, error: str, wait: timedelta
    ) -> None:
        """Try again after `wait`."""
        await self.connection.execute(
            update(CommandRow)
            .where(CommandRow.id == command.id)
            .values(error=error[:1000], due_at=func.now() + wait)
        )

    async def pending(self, job_id: str) -> int:
        """How many commands of a job Temporal has not been told yet."""
        query = select(CommandRow.id).where(
            CommandRow.job_id == job_id, CommandRow.done_at.is_(None)
        )
        return len((await self.connection.execute(query)).all())

    async def hurry(self: "CommandRepository[Writes]", job_id: str) -> None:
        """What a job's workflow has not been told yet is due now."""
        await self.connection.execute(
            update(CommandRow)
            .where(CommandRow.job_id == job_id, CommandRow.done_at.is_(None))
            .values(due_at=NOW)
        )

    async def expire(self: "CommandRepository[Writes]", older_than: timedelta) -> int:
        """Delete commands that were carried out longer ago; returns how many."""
        done = await self.connection.execute(
            delete(CommandRow).where(CommandRow.done_at < func.now() - older_than)
        )
        return int(done.rowcount)
