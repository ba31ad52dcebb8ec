"""Groups as JSON, written by PostgreSQL as `cortex.schemas.groups` has them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select, tuple_

from cortex.db.base import Access, Repository
from cortex.db.jobs.views import JsonPage, Place, in_order, object_of
from cortex.db.outbox.events import parse_position
from cortex.db.readpool import ReadPool
from cortex.db.tables.events import EventRow
from cortex.db.tables.groups import JobGroupRow
from cortex.db.tables.jobs import JobRow
from cortex.domain.errors import NotFound
from cortex.domain.states import JobState
from cortex.schemas.groups import GroupSummary

_SUMMARY: Final = """
    g.id, g.name, g.owner, g.project, g.state, g.reason, g.message, g.labels,
    m.total, m.counts, m.waiting,
    json_build_object('amount', trim_scale(m.cost)::text, 'currency', 'USD') AS cost,
    g.created_at, g.updated_at, g.finished_at, g.cancel_requested_at"""

_OF_MEMBERS: Final = frozenset({"total", "counts", "waiting", "cost"})

# Charges are booked to jobs in USD.
_MEMBERS: Final = f"""
CROSS JOIN LATERAL (
    SELECT coalesce(sum(s.n), 0)::int AS total, coalesce(sum(s.held), 0)::int AS waiting,
        coalesce(sum(s.cost), 0) AS cost,
        coalesce(json_object_agg(s.state, s.n), '{{}}') AS counts
    FROM (
        SELECT j.state, count(*) AS n, sum(j.cost) AS cost,
            count(*) FILTER (WHERE j.held AND j.state = '{JobState.PENDING}') AS held
        FROM jobs j WHERE j.group_id = g.id GROUP BY j.state
    ) s
) m"""

_GROUPS: Final = f"""
SELECT row_to_json(v)::text FROM (
    SELECT {_SUMMARY}, g.spec, g.template,
        (SELECT coalesce(json_agg(row_to_json(a) ORDER BY a.gang), '[]') FROM (
            SELECT k.gang, k.decision, k.reason, k.started_at, k.deadline_at, k.decided_at,
                (SELECT count(*) FROM jobs j WHERE j.group_id = g.id AND j.gang = k.gang)
                    AS members
            FROM job_gangs k WHERE k.group_id = g.id) a) AS gangs
    FROM job_groups g {_MEMBERS} WHERE g.id = ANY(%s)
) v""".encode()

_MEMBER: Final = f"""
    j.id, j.member, j.name, j.gang, j.state,
    j.held AND j.state = '{JobState.PENDING}' AS waiting, j.reason,
    j.message, j.exit_code, j.attempt, j.provider_id,
    (SELECT coalesce(json_agg(o.member ORDER BY o.id), '[]')
        FROM job_needs n JOIN jobs o ON o.id = n.needs_job_id WHERE n.job_id = j.id) AS needs,
    json_build_object('amount', trim_scale(j.cost)::text, 'currency', j.currency) AS cost,
    j.started_at, j.finished_at"""


@dataclass(frozen=True)
class GroupFilter:
    """What a list of groups is narrowed to; every field narrows further.

    Attributes:
        projects: Those of any of these; None: of all.
    """

    states: Sequence[str] = ()
    projects: frozenset[str] | None = None
    owner: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MemberFilter:
    """What a list of members is narrowed to.

    Attributes:
        states: Any of these.
        member: A member by name, or all of an array.
        after: The id of the last member of the page before.
    """

    states: Sequence[JobState] = ()
    member: str | None = None
    after: str | None = None


class GroupReads:
    """Reads of groups for the API."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def group(self, group_id: str) -> str:
        """One group with its gangs, as a JSON object.

        Raises:
            NotFound: there is none with this id.
        """
        stored = await self.groups([group_id])
        if not stored:
            raise _no_group(group_id)
        return stored[0]

    async def groups(self, group_ids: Sequence[str]) -> list[str]:
        """Those of these groups that are there, each as `group` gives it, in any order."""
        return [row[0] for row in await self._pool.fetch(_GROUPS, (list(group_ids),))]

    async def page(
        self,
        where: GroupFilter,
        *,
        before: Place | None,
        limit: int,
        fields: Collection[str] | None = None,
    ) -> JsonPage:
        """Groups of a list, newest first, after the place `before`; with these fields, or all."""
        conditions, params = _conditions(where)
        if before is not None:
            conditions.append("(g.created_at, g.id) < (%s, %s)")
            params.extend(before)
        narrowed = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        entry, columns, members = "row_to_json(v)", _SUMMARY, _MEMBERS
        if fields is not None:
            entry = object_of(in_order(GroupSummary, fields))
            if not _OF_MEMBERS & set(fields):  # then they need not be counted
                columns, members = "g.*", ""
        statement = (
            f"SELECT v.created_at, v.id, {entry}::text FROM ("
            f"SELECT {columns} FROM (SELECT * FROM job_groups g {narrowed} "
            f"ORDER BY g.created_at DESC, g.id DESC LIMIT %s) g {members}) v "
            f"ORDER BY v.created_at DESC, v.id DESC"
        )
        rows = await self._pool.fetch(statement.encode(), (*params, limit + 1), plan_anew=True)
        more = len(rows) > limit
        return JsonPage(
            items=",".join(row[2] for row in rows[:limit]),
            last=(rows[limit - 1][0], rows[limit - 1][1]) if more else None,
        )

    async def members(
        self, group_id: str, where: MemberFilter, *, limit: int
    ) -> tuple[list[str], str | None]:
        """Members in the order of the spec as JSON, and the id of the last if there are more."""
        return (await self.members_of([group_id], where, limit=limit))[group_id]

    async def members_of(
        self, group_ids: Sequence[str], where: MemberFilter, *, limit: int
    ) -> dict[str, tuple[list[str], str | None]]:
        """The same of several groups: for each, as many members at most."""
        pages: dict[str, tuple[list[str], str | None]] = dict.fromkeys(group_ids, ([], None))
        if limit == 0:
            return pages
        conditions: list[str] = ["j.group_id = g.id"]
        values: list[Any] = [list(group_ids)]
        if where.states:
            conditions.append("j.state = ANY(%s)")
            values.append([state.value for state in where.states])
        if where.member is not None:
            conditions.append("(j.member = %s OR starts_with(j.member, %s))")
            values += [where.member, f"{where.member}["]
        if where.after is not None:
            conditions.append("j.id > %s")
            values.append(where.after)
        statement = (
            "SELECT g.id, v.id, row_to_json(v)::text FROM unnest(%s::text[]) g (id) "
            f"CROSS JOIN LATERAL (SELECT {_MEMBER} FROM jobs j "
            f"WHERE {' AND '.join(conditions)} ORDER BY j.id LIMIT %s) v ORDER BY v.id"
        )
        found: dict[str, list[tuple[str, str]]] = {group_id: [] for group_id in group_ids}
        for group_id, job_id, view in await self._pool.fetch(
            statement.encode(), (*values, limit + 1), plan_anew=True
        ):
            found[group_id].append((job_id, view))
        for group_id, rows in found.items():
            last = rows[limit - 1][0] if len(rows) > limit else None
            pages[group_id] = [view for _, view in rows[:limit]], last
        return pages


class GroupReadRepository(Repository[Access]):
    """Narrow reads inside a transaction."""

    async def state(self, group_id: str) -> dict[str, Any]:
        """Name, state, reason and message of a group.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(
            JobGroupRow.state, JobGroupRow.reason, JobGroupRow.message, JobGroupRow.owner
        ).where(JobGroupRow.id == group_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise _no_group(group_id)
        return dict(row)

    async def job_ids(self, group_id: str) -> frozenset[str]:
        """The jobs of a group; they are all there from its first moment."""
        query = select(JobRow.id).where(JobRow.group_id == group_id)
        return frozenset((await self.connection.execute(query)).scalars())

    async def events_after(self, group_id: str, position: str) -> bool:
        """Whether it or a member has committed events after a position, also not yet in order."""
        members = select(JobRow.id).where(JobRow.group_id == group_id)
        later = tuple_(EventRow.tx, EventRow.seq) > parse_position(position)
        of_members = select(EventRow.id).where(EventRow.job_id.in_(members), later)
        of_group = select(EventRow.id).where(
            EventRow.job_id.is_(None), EventRow.subject == group_id, later
        )
        query = select(of_members.exists() | of_group.exists())
        return bool((await self.connection.execute(query)).scalar_one())


def _conditions(where: GroupFilter) -> tuple[list[str], list[Any]]:
    conditions: list[tuple[str, list[Any]]] = []
    if where.states:
        conditions.append(("g.state = ANY(%s)", [list(where.states)]))
    if where.projects is not None:
        conditions.append(("g.project = ANY(%s)", [sorted(where.projects)]))
    if where.owner is not None:
        conditions.append(("g.owner = %s", [where.owner]))
    if where.name is not None:
        conditions.append(("g.name = %s", [where.name]))
    for key, value in where.labels.items():
        conditions.append(("g.labels @> jsonb_build_object(%s::text, %s::text)", [key, value]))
    return [text for text, _ in conditions], [value for _, values in conditions for value in values]


def _no_group(group_id: str) -> NotFound:
    return NotFound(f"there is no group `{group_id[:60]}`")
