"""Jobs as JSON, written by PostgreSQL as `JobSummary` and `JobView` have them.

A list of 100 jobs is one finished text here: no row is taken apart and put together again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import product
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import select, text, tuple_

from cortex.db.base import Access, Repository
from cortex.db.jobs.repository import JobFilter
from cortex.db.money.spending import USED
from cortex.db.outbox.events import parse_position
from cortex.db.readpool import ReadPool
from cortex.db.states import listed
from cortex.db.tables.events import EventRow
from cortex.db.tables.jobs import JobRow
from cortex.domain.errors import NotFound
from cortex.domain.states import JobState, LeaseState
from cortex.schemas.jobs import JobSummary, JobView, LeaseView

Place = tuple[datetime, str]

_LIVE_JOBS: Final = (
    JobState.DEPLOYING,
    JobState.RUNNING,
    JobState.CANCELLING,
    JobState.SETTLING,
)
_HELD: Final = listed((LeaseState.ACTIVE, LeaseState.RELEASING))
# What runs costs; what has ended does not, and is not looked for in the leases.
_AT_A_NETWORK: Final = f"j.state IN ({listed(_LIVE_JOBS)})"

# `cortex.schemas.jobs` is the one list of what is shown of a job, and of its leases. A field that
# does not stand here is the column of its name.
_OF_JOB: Final = {
    "progress": "trim_scale(j.progress)::text",
    "cost": "json_build_object('amount', trim_scale(j.cost)::text, 'currency', j.currency)",
    "cost_so_far": f"""CASE WHEN {_AT_A_NETWORK} THEN (
        SELECT json_build_object('currency', 'USD',
            'amount', trim_scale(round(j.cost + SUM({USED}), 9))::text,
            'estimated', bool_or(s.usage_usd IS NULL OR s.usage_estimated),
            'as_of', MIN(COALESCE(s.usage_at, now())))
        FROM leases s WHERE s.job_id = j.id AND s.cost IS NULL AND s.committed_at IS NOT NULL
        HAVING COUNT(*) > 0
    ) END""",
    "unknown_since": f"""CASE WHEN {_AT_A_NETWORK} THEN (
        SELECT u.unknown_since FROM leases u
        WHERE u.job_id = j.id AND u.state IN ({_HELD})
        ORDER BY u.attempt DESC LIMIT 1
    ) END""",
    # The newest row of an attempt sums up all before it.
    "resources_used": """CASE WHEN j.finished_at IS NOT NULL THEN (
        SELECT json_build_object('cpu_seconds', SUM(u.cpu_seconds),
            'memory_peak', MAX(u.memory_peak))
        FROM leases l CROSS JOIN LATERAL (
            SELECT m.cpu_seconds, m.memory_peak FROM job_metrics m
            WHERE m.job_id = j.id AND m.attempt = l.attempt AND m.created_at >= j.created_at
            ORDER BY m.created_at DESC LIMIT 1
        ) u WHERE l.job_id = j.id
        HAVING COUNT(*) > 0
    ) END""",
    "extension": "extract(epoch FROM j.extension)::bigint",
    "history": """(SELECT coalesce(json_agg(json_build_object(
            'state', s.state, 'attempt', s.attempt, 'message', s.message,
            'time', s.created_at) ORDER BY s.id), '[]')
        FROM job_status s WHERE s.job_id = j.id)""",
}
_OPEN: Final = f"l.state <> '{LeaseState.RELEASED}'"
_OF_LEASE: Final = {
    "price_per_hour": "l.offer->'price_per_hour'",
    "unknown_since": f"CASE WHEN {_OPEN} THEN l.unknown_since END",
    "unknown_reason": f"CASE WHEN {_OPEN} THEN l.unknown_reason ELSE '' END",
    "usage": """CASE WHEN l.usage_amount IS NOT NULL THEN json_build_object(
        'amount', trim_scale(l.usage_amount)::text, 'currency', l.usage_currency)
    END""",
    "cost": """CASE WHEN l.cost IS NOT NULL THEN
        json_build_object('amount', trim_scale(l.cost)::text, 'currency', l.currency)
    END""",
}
_MOST_BRANCHES: Final = 40

ADDED_LATER: Final = frozenset({"temporal_url"})
"""What of a `JobView` the database does not know."""


def _selected(view: type[BaseModel], alias: str, made: Mapping[str, str]) -> str:
    """The fields of a view as the columns of a SELECT."""
    names = [name for name in view.model_fields if name not in ADDED_LATER]
    return ", ".join(f"{made.get(name, f'{alias}.{name}')} AS {name}" for name in names)


_LEASES: Final = f"""(SELECT coalesce(json_agg(row_to_json(a) ORDER BY a.attempt), '[]')
    FROM (SELECT {_selected(LeaseView, "l", _OF_LEASE)} FROM leases l WHERE l.job_id = j.id) a)"""
_SUMMARY: Final = _selected(JobSummary, "j", _OF_JOB)


def _job(job_id: str) -> str:
    """One whole job; `job_id` is the parameter, as the driver that reads it writes one."""
    return f"""
SELECT row_to_json(v)::text FROM (
    SELECT {_selected(JobView, "j", {**_OF_JOB, "leases": _LEASES})} FROM jobs j
    WHERE j.id = {job_id}
) v"""


_JOB_ALONE: Final = _job("%s").encode()
_JOBS: Final = _job("ANY(%s)").encode()
_JOB_INSIDE: Final = text(_job(":id"))


@dataclass(frozen=True)
class JsonPage:
    """The entries of a list as the inside of a JSON array; the last one's place if more follow."""

    items: str
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

    async def jobs(self, job_ids: Sequence[str]) -> list[str]:
        """Those of these jobs that are there, each as `job` gives it, in any order."""
        return [row[0] for row in await self._pool.fetch(_JOBS, (list(job_ids),))]

    async def page(
        self,
        where: JobFilter,
        *,
        before: Place | None,
        limit: int,
        fields: Collection[str] | None = None,
    ) -> JsonPage:
        """Jobs of a list, newest first, after the place `before`; with these fields, or all."""
        if where.projects is not None and not where.projects:
            return JsonPage(items="", last=None)
        conditions, params = narrowed_by(where)
        choices = _choices(where)
        branches = list(product(*choices.values()))
        if len(branches) > _MOST_BRANCHES:
            conditions.append("j.project = ANY(%s)")
            params.append(choices.pop("j.project"))
            branches = list(product(*choices.values()))
        searches = bool(conditions or choices)
        if before is not None:
            conditions.append("(j.created_at, j.id) < (%s, %s)")
            params.extend(before)
        conditions += [f"{column} = %s" for column in choices]
        params = [value for branch in branches for value in (*params, *branch)]
        narrowed = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        # How many jobs have a value decides between its index and the newest jobs, filtered.
        shown = None if fields is None else in_order(JobSummary, fields)
        statement = _page_statement(narrowed, len(branches), limit, shown)
        rows = await self._pool.fetch(statement, params, plan_anew=searches)
        items, time, job_id, more = rows[0]
        return JsonPage(items=items, last=(time, job_id) if more else None)


# One row for the whole page: a row for each job would cost more than all its texts. The limit is
# part of the statement, since with one that it does not know PostgreSQL plans anew each time.
@lru_cache(maxsize=256)
def _page_statement(
    narrowed: str, branches: int, limit: int, fields: tuple[str, ...] | None
) -> bytes:
    # Of one state or project the index gives them in order, so that a page ends the search. Of
    # several it does not, and the jobs of a rare one would be looked for among all: so each is
    # read by itself, no further than a page reaches, and what was read is merged.
    newest = f"ORDER BY j.created_at DESC, j.id DESC LIMIT {limit:d} + 1"
    one = f"SELECT j.* FROM jobs j {narrowed} {newest}"
    source = "jobs j" if branches == 1 else f"({' UNION ALL '.join([f'({one})'] * branches)}) j"
    # What is not shown is not reckoned either; the place of a page needs time and id.
    columns = _SUMMARY if fields is None else _only({*fields, "created_at", "id"})
    entry = "row_to_json(v)" if fields is None else object_of(fields)
    return f"""
SELECT coalesce(string_agg(p.job, ',' ORDER BY p.n) FILTER (WHERE p.n <= {limit:d}), ''),
    min(p.created_at) FILTER (WHERE p.n = {limit:d}), min(p.id) FILTER (WHERE p.n = {limit:d}),
    count(*) > {limit:d}
FROM (
    SELECT row_number() OVER () AS n, {entry}::text AS job, v.created_at, v.id
    FROM (
        SELECT {columns} FROM {source} {narrowed if branches == 1 else ""} {newest}
    ) v
) p""".encode()


def in_order(view: type[BaseModel], fields: Collection[str]) -> tuple[str, ...]:
    """Those fields that a view has, as it orders them: one statement for each choice."""
    return tuple(name for name in view.model_fields if name in fields)


def object_of(fields: Sequence[str]) -> str:
    """SQL of the JSON object with these columns of `v`; their names come from a view."""
    pairs = ", ".join(f"'{name}', v.{name}" for name in fields)
    return f"json_build_object({pairs})"


def _only(fields: Collection[str]) -> str:
    columns = [f"{_OF_JOB.get(name, f'j.{name}')} AS {name}" for name in sorted(fields)]
    return ", ".join(columns)


def _choices(where: JobFilter) -> dict[str, list[str]]:
    """The values that a column may have, each of which is read by itself."""
    states = list(dict.fromkeys(state.value for state in where.states))
    return {
        **({"j.state": states} if states else {}),
        **({"j.project": sorted(where.projects)} if where.projects is not None else {}),
    }


def narrowed_by(where: JobFilter) -> tuple[list[str], list[Any]]:
    """All that narrows a list but its choices."""
    wanted: list[tuple[str, Any]] = [
        ("j.provider_id = %s", where.provider_id),
        ("j.owner = %s", where.owner),
        ("j.name = %s", where.name),
        ("j.group_id = %s", where.group_id),
        ("j.created_at >= %s", where.created_after),
        ("j.created_at < %s", where.created_before),
    ]
    conditions = [(text, value) for text, value in wanted if value is not None]
    for key, value in where.labels.items():
        conditions.append(("j.labels @> jsonb_build_object(%s::text, %s::text)", (key, value)))
    params: list[Any] = []
    for _, value in conditions:
        params.extend(value if isinstance(value, tuple) else (value,))
    return [text for text, _ in conditions], params


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

    async def require(self, job_id: str, projects: frozenset[str] | None) -> None:
        """Go on only if there is such a job, in one of these projects (None: in any).

        Raises:
            NotFound: there is none with this id, or it is elsewhere.
        """
        query = select(JobRow.project).where(JobRow.id == job_id)
        project = (await self.connection.execute(query)).scalar_one_or_none()
        if project is None or (projects is not None and project not in projects):
            raise _no_job(job_id)

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
