"""Schedules and their runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.schedules import ScheduleRow, ScheduleRunRow
from cortex.domain.errors import NotFound
from cortex.domain.schedules import Cause, RunState, Schedule, ScheduleRun, Span

# The newest job or group of a schedule that has not ended; a group's states have the same names.
_OPEN: Final = text(f"""
SELECT r.made FROM schedule_runs r
LEFT JOIN jobs j ON j.id = r.made LEFT JOIN job_groups g ON g.id = r.made
WHERE r.schedule_id = :schedule_id AND r.state = '{RunState.SUBMITTED}'
    AND COALESCE(j.state, g.state) NOT IN ('completed', 'failed', 'cancelled')
    AND (CAST(:before AS timestamptz) IS NULL OR r.due_at < :before)
ORDER BY r.due_at DESC
""")
# Changes that no open command tells of.
_UNTOLD: Final = text("""
SELECT s.id, s.revision, s.told_revision FROM schedules s
WHERE NOT EXISTS (
    SELECT 1 FROM commands c WHERE c.schedule_id = s.id AND c.done_at IS NULL)
""")


@dataclass(frozen=True)
class Told:
    """How far Temporal has been told of a schedule."""

    id: str
    revision: int
    told_revision: int


class ScheduleRepository(Repository[Access]):
    async def lock_project(self: "ScheduleRepository[Transacts]", project: str) -> int:
        """How many schedules a project has; nobody else adds one until the transaction ends."""
        lock = select(func.pg_advisory_xact_lock(func.hashtext(f"schedules of {project}")))
        await self.connection.execute(lock)
        query = select(func.count()).where(ScheduleRow.project == project)
        return int((await self.connection.execute(query)).scalar_one())

    async def add(
        self: "ScheduleRepository[Transacts]", schedule_id: str, values: Mapping[str, Any]
    ) -> bool:
        """Store a schedule; False if the project has one of this name."""
        statement = (
            upsert(ScheduleRow)
            .values(id=schedule_id, **values)
            .on_conflict_do_nothing()
            .returning(ScheduleRow.id)
        )
        return (await self.connection.execute(statement)).scalar_one_or_none() is not None

    async def change(
        self: "ScheduleRepository[Transacts]", schedule_id: str, values: Mapping[str, Any]
    ) -> None:
        """Change a schedule that is locked; it is another revision then."""
        await self.connection.execute(
            update(ScheduleRow)
            .where(ScheduleRow.id == schedule_id)
            .values(revision=ScheduleRow.revision + 1, updated_at=NOW, **values)
        )

    async def put_backfills(
        self: "ScheduleRepository[Transacts]", schedule_id: str, spans: Sequence[Any]
    ) -> None:
        """The spans that are made up for; no other revision."""
        await self.connection.execute(
            update(ScheduleRow).where(ScheduleRow.id == schedule_id).values(backfills=list(spans))
        )

    async def told(self: "ScheduleRepository[Writes]", schedule_id: str, revision: int) -> None:
        """Temporal has this revision, or a later one."""
        await self.connection.execute(
            update(ScheduleRow)
            .where(ScheduleRow.id == schedule_id, ScheduleRow.told_revision < revision)
            .values(told_revision=revision)
        )

    async def find(self, schedule_id: str) -> Schedule | None:
        """One schedule, if it is there."""
        query = select(ScheduleRow.__table__).where(ScheduleRow.id == schedule_id)
        row = (await self.connection.execute(query)).mappings().first()
        return None if row is None else _schedule(row)

    async def get(self, schedule_id: str) -> Schedule:
        """One schedule.

        Raises:
            NotFound: there is none with this id.
        """
        schedule = await self.find(schedule_id)
        if schedule is None:
            raise NotFound(f"there is no schedule `{schedule_id[:60]}`")
        return schedule

    async def lock(self: "ScheduleRepository[Transacts]", schedule_id: str) -> Schedule:
        """One schedule, which nobody else changes or fires until the transaction ends.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(ScheduleRow.id).where(ScheduleRow.id == schedule_id).with_for_update()
        await self.connection.execute(query)
        return await self.get(schedule_id)

    async def page(
        self,
        projects: frozenset[str] | None,
        *,
        name: str | None,
        before: str | None,
        limit: int,
    ) -> list[Schedule]:
        """Schedules of these projects (None: all), the newest first; those before an id."""
        query = select(ScheduleRow.__table__).order_by(ScheduleRow.id.desc()).limit(limit)
        if projects is not None:
            query = query.where(ScheduleRow.project.in_(projects))
        if name is not None:
            query = query.where(ScheduleRow.name == name)
        if before is not None:
            query = query.where(ScheduleRow.id < before)
        return [_schedule(row) for row in (await self.connection.execute(query)).mappings()]

    async def overrides_of_latest(self, template_id: str) -> list[dict[str, Any]]:
        """What the schedules override that follow the latest version of a template."""
        query = select(ScheduleRow.overrides).where(
            ScheduleRow.template_id == template_id, ScheduleRow.template_version.is_(None)
        )
        return list((await self.connection.execute(query)).scalars())

    async def all_told(self) -> list[Told]:
        """Every schedule of which Temporal need not be told now, and how far it has been."""
        rows = (await self.connection.execute(_UNTOLD)).mappings()
        return [Told(**row) for row in rows]

    async def ids(self) -> frozenset[str]:
        """Of all schedules."""
        return frozenset((await self.connection.execute(select(ScheduleRow.id))).scalars())

    async def tell_anew(self: "ScheduleRepository[Writes]", schedule_id: str) -> None:
        """Temporal has to be told all of it again."""
        await self.connection.execute(
            update(ScheduleRow).where(ScheduleRow.id == schedule_id).values(told_revision=0)
        )

    async def forget_missed(
        self: "ScheduleRepository[Transacts]", schedule_id: str, span: Span
    ) -> None:
        """Let what was skipped or refused in a span have another chance."""
        await self.connection.execute(
            delete(ScheduleRunRow).where(
                ScheduleRunRow.schedule_id == schedule_id,
                ScheduleRunRow.due_at.between(span.start, span.end),
                ScheduleRunRow.state.in_([RunState.SKIPPED.value, RunState.REFUSED.value]),
            )
        )

    async def submitted(self, schedule_id: str, span: Span) -> frozenset[datetime]:
        """The times in a span that had their job."""
        query = select(ScheduleRunRow.due_at).where(
            ScheduleRunRow.schedule_id == schedule_id,
            ScheduleRunRow.due_at.between(span.start, span.end),
            ScheduleRunRow.state == RunState.SUBMITTED.value,
        )
        return frozenset((await self.connection.execute(query)).scalars())

    async def remove(self: "ScheduleRepository[Transacts]", schedule_id: str) -> None:
        """Take a schedule away with its runs; not their jobs."""
        await self.connection.execute(delete(ScheduleRow).where(ScheduleRow.id == schedule_id))

    async def run(self, schedule_id: str, due_at: datetime) -> ScheduleRun | None:
        """What became of one time, if anything did."""
        query = _runs(schedule_id).where(ScheduleRunRow.due_at == due_at)
        row = (await self.connection.execute(query)).mappings().first()
        return None if row is None else _run(row)

    async def runs(
        self, schedule_id: str, *, before: datetime | None, limit: int
    ) -> list[ScheduleRun]:
        """Runs of a schedule, the latest first; those before a time."""
        query = _runs(schedule_id).order_by(ScheduleRunRow.due_at.desc()).limit(limit)
        if before is not None:
            query = query.where(ScheduleRunRow.due_at < before)
        return [_run(row) for row in (await self.connection.execute(query)).mappings()]

    async def put_run(
        self: "ScheduleRepository[Transacts]",
        schedule_id: str,
        due_at: datetime,
        *,
        cause: Cause,
        state: RunState,
        made: str | None = None,
        message: str = "",
    ) -> None:
        """Write down what became of a time; what was submitted stays so."""
        values = {
            "cause": cause.value,
            "state": state.value,
            "made": made,
            "message": message,
            "updated_at": NOW,
        }
        statement = upsert(ScheduleRunRow).values(schedule_id=schedule_id, due_at=due_at, **values)
        await self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["schedule_id", "due_at"],
                set_=values,
                where=ScheduleRunRow.state != RunState.SUBMITTED.value,
            )
        )

    async def open_jobs(self, schedule_id: str, before: datetime | None = None) -> list[str]:
        """Ids of what it has submitted (for times before one) and has not ended."""
        values = {"schedule_id": schedule_id, "before": before}
        rows = await self.connection.execute(_OPEN, values)
        return list(rows.scalars())

    async def waiting(self, schedule_id: str) -> datetime | None:
        """The time that waits for the end of a job, if one does."""
        query = select(func.min(ScheduleRunRow.due_at)).where(
            ScheduleRunRow.schedule_id == schedule_id,
            ScheduleRunRow.state == RunState.WAITING.value,
        )
        due_at: datetime | None = (await self.connection.execute(query)).scalar_one()
        return due_at


def _runs(schedule_id: str) -> Any:
    return select(ScheduleRunRow.__table__).where(ScheduleRunRow.schedule_id == schedule_id)


def _schedule(row: Row) -> Schedule:
    return Schedule.model_validate(dict(row))


def _run(row: Row) -> ScheduleRun:
    values = {name: row[name] for name in ScheduleRun.model_fields}
    return ScheduleRun.model_validate(values)
