"""What the explorer reads of a job or group: everything that a trace is made from."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, select

from cortex.db.base import Access, Reads, Repository
from cortex.db.jobs.leases import lease_of
from cortex.db.jobs.repository import JobRepository
from cortex.db.money.ledger import entry_of
from cortex.db.outbox.events import event_of
from cortex.db.tables.events import EventRow
from cortex.db.tables.groups import JobGangRow, JobGroupRow
from cortex.db.tables.jobs import JobRow, JobStatusRow
from cortex.db.tables.leases import LeaseRow
from cortex.db.tables.money import LedgerRow
from cortex.db.tables.outbox import CommandRow
from cortex.domain.errors import NotFound
from cortex.domain.events import Event, EventType
from cortex.domain.trace.model import CommandFact, GangFact, GroupStory, JobStory, StatusFact

# Others, such as progress and frames, can be many and say nothing of the protocol.
_TELLING: Final = tuple(
    kind.value
    for kind in (
        EventType.JOB_CANCEL_REQUESTED,
        EventType.JOB_EXTENDED,
        EventType.JOB_RETRYING,
        EventType.JOB_RESOLVED,
    )
)
_MOST_EVENTS: Final = 5000


class TraceRepository(Repository[Access]):
    async def job(self, job_id: str) -> JobStory:
        """One job.

        Raises:
            NotFound: there is none with this id.
        """
        job = await JobRepository[Reads](self.connection).get(job_id)
        return (await self._stories([job]))[0]

    async def group(self, group_id: str) -> GroupStory:
        """A group with all its members.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(JobGroupRow.__table__).where(JobGroupRow.id == group_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no group `{group_id[:60]}`")
        ids = select(JobRow.id).where(JobRow.group_id == group_id).order_by(JobRow.id)
        members = list((await self.connection.execute(ids)).scalars())
        jobs = await JobRepository[Reads](self.connection).get_many(members)
        return GroupStory(
            id=row["id"],
            name=row["name"],
            owner=row["owner"],
            state=row["state"],
            reason=row["reason"],
            message=row["message"],
            created_at=row["created_at"],
            finished_at=row["finished_at"],
            cancel_requested_at=row["cancel_requested_at"],
            cancel_reason=row["cancel_reason"],
            gangs=await self._gangs([group_id]),
            commands=(await self._commands(CommandRow.group_id == group_id)).get(None, []),
            members=await self._stories(sorted(jobs, key=lambda job: job.id)),
        )

    async def _stories(self, jobs: Sequence[Any]) -> list[JobStory]:
        ids = [job.id for job in jobs]
        statuses = await self._statuses(ids)
        leases = await self._leases(ids)
        entries = await self._entries(ids)
        commands = await self._commands(CommandRow.job_id.in_(ids))
        events = await self._events(ids)
        groups = {job.group_id for job in jobs if job.group_id is not None}
        gangs = {gang.gang: gang for gang in await self._gangs(groups)}
        return [
            JobStory(
                job=job,
                statuses=statuses[job.id],
                leases=leases[job.id],
                entries=entries[job.id],
                commands=commands.get(job.id, []),
                events=events[job.id],
                gang=gangs.get(job.gang) if job.gang is not None else None,
            )
            for job in jobs
        ]

    async def _statuses(self, ids: Sequence[str]) -> Mapping[str, list[StatusFact]]:
        query = select(JobStatusRow).where(JobStatusRow.job_id.in_(ids)).order_by(JobStatusRow.id)
        by_job: dict[str, list[StatusFact]] = defaultdict(list)
        for row in (await self.connection.execute(query)).all():
            fact = StatusFact(row.state, row.attempt, row.message, row.created_at)
            by_job[row.job_id].append(fact)
        return by_job

    async def _leases(self, ids: Sequence[str]) -> Mapping[str, list[Any]]:
        query = (
            select(LeaseRow.__table__).where(LeaseRow.job_id.in_(ids)).order_by(LeaseRow.attempt)
        )
        by_job: dict[str, list[Any]] = defaultdict(list)
        for row in (await self.connection.execute(query)).mappings():
            by_job[row["job_id"]].append(lease_of(row))
        return by_job

    async def _entries(self, ids: Sequence[str]) -> Mapping[str, list[Any]]:
        query = (
            select(LedgerRow.__table__)
            .where(LedgerRow.job_id.in_(ids))
            .order_by(LedgerRow.created_at, LedgerRow.id)
        )
        by_job: dict[str, list[Any]] = defaultdict(list)
        for row in (await self.connection.execute(query)).mappings():
            by_job[row["job_id"]].append(entry_of(row))
        return by_job

    async def _commands(self, where: ColumnElement[bool]) -> dict[str | None, list[CommandFact]]:
        """Those of jobs by job id, those of a group under None."""
        query = select(CommandRow).where(where).order_by(CommandRow.id)
        by_job: dict[str | None, list[CommandFact]] = defaultdict(list)
        for row in (await self.connection.execute(query)).all():
            by_job[row.job_id].append(
                CommandFact(
                    kind=row.kind,
                    created_at=row.created_at,
                    done_at=row.done_at,
                    due_at=row.due_at,
                    attempts=row.attempts,
                    error=row.error or "",
                )
            )
        return dict(by_job)

    async def _events(self, ids: Sequence[str]) -> Mapping[str, list[Event]]:
        query = (
            select(EventRow.__table__)
            .where(EventRow.job_id.in_(ids), EventRow.type.in_(_TELLING))
            .order_by(EventRow.tx, EventRow.seq)
            .limit(_MOST_EVENTS)
        )
        by_job: dict[str, list[Event]] = defaultdict(list)
        for row in (await self.connection.execute(query)).mappings():
            by_job[row["job_id"]].append(event_of(row))
        return by_job

    async def _gangs(self, groups: Iterable[str]) -> list[GangFact]:
        query = (
            select(JobGangRow)
            .where(JobGangRow.group_id.in_(list(groups)))
            .order_by(JobGangRow.group_id, JobGangRow.gang)
        )
        return [
            GangFact(
                gang=row.gang,
                decision=row.decision,
                reason=row.reason,
                started_at=row.started_at,
                deadline_at=row.deadline_at,
                decided_at=row.decided_at,
            )
            for row in (await self.connection.execute(query)).all()
        ]
