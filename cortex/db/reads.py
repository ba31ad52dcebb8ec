"""Narrow reads for the API: rows as they are shown, without the cost of domain objects.

Amounts come as text and stored specs as they lie there (masked), ready to be written as JSON.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, select, tuple_

from cortex.db.base import Repository, Row
from cortex.db.events import parse_position
from cortex.db.jobs import JobFilter, narrowed
from cortex.db.tables import EventRow, JobRow, JobStatusRow, LeaseRow
from cortex.domain.errors import NotFound

_SUMMARY: tuple[Any, ...] = (
    JobRow.id,
    JobRow.name,
    JobRow.owner,
    JobRow.state,
    JobRow.reason,
    JobRow.message,
    JobRow.exit_code,
    JobRow.attempt,
    JobRow.provider_id,
    cast(func.trim_scale(JobRow.progress), Text).label("progress"),
    JobRow.labels,
    cast(func.trim_scale(JobRow.cost), Text).label("cost"),
    JobRow.currency,
    JobRow.created_at,
    JobRow.started_at,
    JobRow.finished_at,
    JobRow.deadline_at,
)
_WHOLE: tuple[Any, ...] = (
    *_SUMMARY,
    JobRow.spec,
    JobRow.log_bytes,
    JobRow.log_dropped_bytes,
    JobRow.cancel_requested_at,
)
_LEASE: tuple[Any, ...] = (
    LeaseRow.key,
    LeaseRow.attempt,
    LeaseRow.provider_id,
    LeaseRow.state,
    LeaseRow.run_state,
    LeaseRow.exit_code,
    LeaseRow.message,
    LeaseRow.endpoints,
    LeaseRow.offer["price_per_hour"].label("price_per_hour"),
    LeaseRow.created_at,
    LeaseRow.committed_at,
    LeaseRow.started_at,
    LeaseRow.finished_at,
    LeaseRow.released_at,
    cast(func.trim_scale(LeaseRow.cost), Text).label("cost"),
    LeaseRow.currency,
)


class ReadRepository(Repository):
    async def page(
        self, where: JobFilter, *, before: tuple[datetime, str] | None, limit: int
    ) -> list[Row]:
        """Rows of a list of jobs, newest first, after the place `before`."""
        query = narrowed(select(*_SUMMARY), where)
        if before is not None:
            query = query.where(tuple_(JobRow.created_at, JobRow.id) < before)
        query = query.order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit)
        return list((await self.connection.execute(query)).mappings())

    async def job(self, job_id: str) -> Row:
        """The row of one job.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(*_WHOLE).where(JobRow.id == job_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no job `{job_id[:60]}`")
        return row

    async def leases(self, job_id: str) -> list[Row]:
        """The attempts of a job, first to last."""
        query = select(*_LEASE).where(LeaseRow.job_id == job_id).order_by(LeaseRow.attempt)
        return list((await self.connection.execute(query)).mappings())

    async def history(self, job_id: str) -> list[Row]:
        """The states of a job, oldest first."""
        query = (
            select(
                JobStatusRow.state,
                JobStatusRow.attempt,
                JobStatusRow.message,
                JobStatusRow.created_at.label("time"),
            )
            .where(JobStatusRow.job_id == job_id)
            .order_by(JobStatusRow.id)
        )
        return list((await self.connection.execute(query)).mappings())

    async def state(self, job_id: str) -> dict[str, Any]:
        """State, exit code and dropped log bytes of a job.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(
            JobRow.state, JobRow.reason, JobRow.message, JobRow.exit_code, JobRow.log_dropped_bytes
        ).where(JobRow.id == job_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no job `{job_id[:60]}`")
        return dict(row)

    async def events_after(self, job_id: str, position: str) -> bool:
        """Whether a job has committed events after a position, also ones not yet in order."""
        query = (
            select(EventRow.id)
            .where(
                EventRow.job_id == job_id,
                tuple_(EventRow.tx, EventRow.seq) > parse_position(position),
            )
            .limit(1)
        )
        return (await self.connection.execute(query)).first() is not None
