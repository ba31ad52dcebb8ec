"""Many jobs at once: how many a filter finds, and which of them can be cancelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cortex.db.base import Access, Repository
from cortex.db.jobs.repository import JobFilter
from cortex.db.jobs.views import narrowed_by
from cortex.domain.rights import Action, Principal
from cortex.domain.states import CANCELLABLE_JOB_STATES, JobState

_CANCELLABLE: Final = sorted(state.value for state in CANCELLABLE_JOB_STATES)
_NOBODY: Final = "\0"


@dataclass(frozen=True)
class Reach:
    """Whose jobs somebody may do something to.

    Attributes:
        everywhere: Any job.
        whole: Projects in which any job.
        own: Projects in which only those of `owner`.
    """

    owner: str
    everywhere: bool = False
    whole: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()

    @classmethod
    def of(cls, by: Principal, action: Action) -> "Reach":
        """What the role of `by` reaches in each project, its key considered."""
        projects = by.projects(action)
        if projects is None:
            return cls(by.name, everywhere=True)
        whole = {name for name in projects if by.may(action, owner=_NOBODY, project=name)}
        return cls(by.name, whole=frozenset(whole), own=projects - whole)


@dataclass(frozen=True)
class Asked:
    """How a job stands that was to be cancelled."""

    state: JobState
    cancelled: bool


class BulkRepository(Repository[Access]):
    async def counts(self, where: JobFilter, reach: Reach) -> dict[JobState, int]:
        """How many jobs the filter finds of those within reach, by state."""
        text, params = _found(where, reach)
        statement = f"SELECT j.state, count(*) AS jobs FROM jobs j WHERE {text} GROUP BY j.state"
        rows = await self.connection.exec_driver_sql(statement, params)
        return {JobState(row["state"]): row["jobs"] for row in rows.mappings()}

    async def cancellable(self, where: JobFilter, reach: Reach, *, limit: int) -> list[str]:
        """Ids of those that can be cancelled, the oldest first."""
        text, params = _found(where, reach)
        statement = (
            f"SELECT j.id FROM jobs j WHERE {text} AND j.state = ANY(%s) "
            f"ORDER BY j.created_at, j.id LIMIT {limit:d}"
        )
        rows = await self.connection.exec_driver_sql(statement, (*params, _CANCELLABLE))
        return list(rows.scalars())

    async def standing(self, job_ids: Sequence[str]) -> Mapping[str, Asked]:
        """How these jobs stand; unknown ones are left out."""
        statement = (
            "SELECT id, state, cancel_requested_at IS NOT NULL AS asked "
            "FROM jobs WHERE id = ANY(%s)"
        )
        rows = (await self.connection.exec_driver_sql(statement, (list(job_ids),))).mappings()
        return {row["id"]: Asked(JobState(row["state"]), row["asked"]) for row in rows}


def _found(where: JobFilter, reach: Reach) -> tuple[str, tuple[Any, ...]]:
    conditions, params = narrowed_by(where)
    choices: list[tuple[str, list[str]]] = []
    if where.states:
        choices.append(("j.state = ANY(%s)", [state.value for state in where.states]))
    if where.projects is not None:
        choices.append(("j.project = ANY(%s)", sorted(where.projects)))
    for text, values in choices:
        conditions.append(text)
        params.append(values)
    if not reach.everywhere:
        conditions.append("(j.project = ANY(%s) OR (j.project = ANY(%s) AND j.owner = %s))")
        params.extend([sorted(reach.whole), sorted(reach.own), reach.owner])
    return " AND ".join(conditions) or "TRUE", tuple(params)
