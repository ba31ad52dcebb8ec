"""Jobs as JSON, written by PostgreSQL as `JobSummary` and `JobView` have them.

A list of 100 jobs is 100 finished texts here: no row is taken apart and put together again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text, tuple_

from cortex.db.base import Access, Repository
from cortex.db.jobs.repository import JobFilter
from cortex.db.money.spending import USED
from cortex.db.outbox.events import parse_position
from cortex.db.readpool import ReadPool
from cortex.db.tables.jobs import EventRow, JobRow
from cortex.domain.errors import NotFound

Place = tuple[datetime, str]

_SUMMARY: Final = f"""
    j.id, j.name, j.owner, j.state, j.reason, j.message, j.exit_code, j.attempt, j.provider_id,
    trim_scale(j.progress)::text AS progress, j.labels,
    json_build_object('amount', trim_scale(j.cost)::text, 'currency', j.currency) AS cost,
    CASE WHEN j.state IN ('running', 'deploying', 'cancelling', 'settling') THEN (
        SELECT json_build_object('currency', 'USD',
            'amount', trim_scale(round(j.cost + SUM({USED}), 9))::text,
            'estimated', bool_or(s.usage_usd IS NULL OR s.usage_estimated),
            'as_of', MIN(COALESCE(s.usage_at, now())))
        FROM leases s WHERE s.job_id = j.id AND s.cost IS NULL AND s.committed_at IS NOT NULL
        HAVING COUNT(*) > 0
    ) END AS cost_so_far,
    CASE WHEN j.state IN ('running', 'deploying', 'cancelling', 'settling') THEN (
        SELECT u.unknown_since FROM leases u
        WHERE u.job_id = j.id AND u.state IN ('active', 'releasing')
        ORDER BY u.attempt DESC LIMIT 1
    ) END AS unknown_since,
    j.created_at, j.started_at, j.finished_at, j.deadline_at, j.group_id, j.member"""

_LEASE: Final = """
    l.key, l.attempt, l.provider_id, l.state, l.run_state, l.exit_code, l.message, l.endpoints,
    l.offer->'price_per_hour' AS price_per_hour,
    l.created_at, l.committed_at, l.started_at, l.finished_at, l.released_at,
    CASE WHEN l.state <> 'released' THEN l.unknown_since END AS unknown_since,
    CASE WHEN l.state <> 'released' THEN l.unknown_reason ELSE '' END AS unknown_reason,
    CASE WHEN l.usage_amount IS NOT NULL THEN json_build_object(
        'amount', trim_scale(l.usage_amount)::text, 'currency', l.usage_currency)
    END AS usage, l.usage_at, l.usage_estimated,
    CASE WHEN l.cost IS NOT NULL THEN
        json_build_object('amount', trim_scale(l.cost)::text, 'currency', l.currency)
    END AS cost"""

_JOB: Final = f"""
SELECT row_to_json(v)::text FROM (
    SELECT {_SUMMARY}, j.spec,
        (SELECT coalesce(json_agg(row_to_json(a) ORDER BY a.attempt), '[]')
            FROM (SELECT {_LEASE} FROM leases l WHERE l.job_id = j.id) a) AS leases,
        (SELECT coalesce(json_agg(json_build_object(
                'state', s.state, 'attempt', s.attempt, 'message', s.message,
                'time', s.created_at) ORDER BY s.id), '[]')
            FROM job_status s WHERE s.job_id = j.id) AS history,
        extract(epoch FROM j.extension)::bigint AS extension, j.losses, j.failures,
        j.log_bytes, j.log_dropped_bytes, j.cancel_requested_at, j.warned_at
    FROM jobs j WHERE j.id = {{id}}
) v"""
_JOB_ALONE: Final = _JOB.format(id="%s").encode()
_JOB_INSIDE: Final = text(_JOB.format(id=":id").replace("::", "\\:\\:"))


@dataclass(frozen=True)
class JsonPage:
    """Jobs of a list, each as JSON, and the place of the last one if there are more."""

    items: list[str]
    last: Place | None


class JobReads:
    """Reads of jobs for the API."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def job(self, job_id: str) -> str:
        """One job with its leases and its history, as a JSON object.

        Raises:
            NotFound: there is none with this id.
        """
        rows = await self._pool.fetch(_JOB_ALONE, (job_id,))
        if not rows:
            raise _no_job(job_id)
        view: str = rows[0][0]
        return view

    async def page(self, where: JobFilter, *, before: Place | None, limit: int) -> JsonPage:
        """Jobs of a list, newest first, after the place `before`."""
        conditions, params = _conditions(where)
        if before is not None:
            conditions.append("(j.created_at, j.id) < (%s, %s)")
            params.extend(before)
        narrowed = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        statement = (
            f"SELECT v.created_at, v.id, row_to_json(v)::text FROM ("
            f"SELECT {_SUMMARY} FROM jobs j {narrowed} "
            f"ORDER BY j.created_at DESC, j.id DESC LIMIT %s) v"
        )
        rows = await self._pool.fetch(statement.encode(), (*params, limit + 1))
        more = len(rows) > limit
        return JsonPage(
            items=[row[2] for row in rows[:limit]],
            last=(rows[limit - 1][0], rows[limit - 1][1]) if more else None,
        )


def _conditions(where: JobFilter) -> tuple[list[str], list[Any]]:
    wanted: list[tuple[str, Any]] = [
        ("j.state = ANY(%s)", [state.value for state in where.states] or None),
        ("j.provider_id = %s", where.provider_id),
        ("j.owner = %s", where.owner),
        ("j.name = %s", where.name),
        ("j.group_id = %s", where.group_id),
        ("j.created_at >= %s", where.created_after),
        ("j.created_at < %s", where.created_before),
    ]
    found = [(text, value) for text, value in wanted if value is not None]
    for key, value in where.labels.items():
        found.append(("j.labels @> jsonb_build_object(%s::text, %s::text)", (key, value)))
    params: list[Any] = []
    for _, value in found:
        params.extend(value if isinstance(value, tuple) else (value,))
    return [text for text, _ in found], params


class ReadRepository(Repository[Access]):
    """Narrow reads inside a transaction."""

    async def job(self, job_id: str) -> str:
        """One job as `JobReads.job` gives it, with the transaction's own changes.

        Raises:
            NotFound: there is none with this id.
        """
        view = (await self.connection.execute(_JOB_INSIDE, {"id": job_id})).scalar_one_or_none()
        if view is None:
            raise _no_job(job_id)
        return str(view)

    async def state(self, job_id: str) -> dict[str, Any]:
        """State, reason, message, exit code and dropped log bytes of a job.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(
            JobRow.state, JobRow.reason, JobRow.message, JobRow.exit_code, JobRow.log_dropped_bytes
        ).where(JobRow.id == job_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise _no_job(job_id)
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


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"there is no job `{job_id[:60]}`")
