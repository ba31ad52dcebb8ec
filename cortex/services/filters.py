"""Saved filters: put, listed, taken away, and narrowed to."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cortex.db.engine import Database
from cortex.db.jobs.repository import JobFilter
from cortex.domain.errors import Conflict, NotFound
from cortex.domain.filters import MOST_SAVED, SavedFilter, SavedJobs
from cortex.domain.ids import new_id
from cortex.domain.rights import Action, Principal
from cortex.schemas.filters import FilterPage, FilterPut
from cortex.services.projects import Projects


class SavedFilters:
    """Changes and applies saved filters: one's own, and those shared in projects that one sees."""

    def __init__(self, database: Database, projects: Projects) -> None:
        self._database = database
        self._projects = projects

    async def all(self, by: Principal) -> FilterPage:
        """One's own and those that are shared, by name."""
        async with self._database.reading() as tx:
            found = await tx.filters.seen(by.name, by.projects(Action.JOBS_READ))
        return FilterPage(items=tuple(found))

    async def put(
        self, name: str, wanted: FilterPut, project: str | None, by: Principal
    ) -> SavedFilter:
        """Save a filter under a name, in place of the one that has it.

        Args:
            name: Of the filter.
            wanted: Which jobs it finds.
            project: Whose members have it too; None: nobody else.
            by: Who saves it.

        Raises:
            NotFound, Forbidden: `by` may not submit to the project, and so not share there.
            Conflict: there are too many.
        """
        await self._check(project, by)
        async with self._database.transaction() as tx:
            there = await tx.filters.lock(by.name, project)
            old = next((each for each in there if each.name == name), None)
            if old is None and len(there) >= MOST_SAVED:
                raise Conflict(f"there are {MOST_SAVED} filters already, the most there may be")
            jobs = wanted.jobs().model_dump(mode="json", exclude_defaults=True)
            await tx.filters.put(new_id("flt"), name, owner=by.name, project=project, jobs=jobs)
            await tx.audit.add(
                by, "filter.put", _subject(name, project), before=_audited(old), after=jobs
            )
            there = await tx.filters.lock(by.name, project)
        return next(each for each in there if each.name == name)

    async def remove(self, name: str, project: str | None, by: Principal) -> None:
        """Take a filter away.

        Raises:
            NotFound: there is none of this name.
            Forbidden: `by` may not submit to the project, and so not change what is shared there.
        """
        await self._check(project, by)
        async with self._database.transaction() as tx:
            there = await tx.filters.lock(by.name, project)
            old = next((each for each in there if each.name == name), None)
            if old is None:
                raise _missing(name)
            await tx.filters.remove(name, by.name, project)
            await tx.audit.add(
                by, "filter.delete", _subject(name, project), before=_audited(old), after={}
            )

    async def narrowed(self, where: JobFilter, name: str, by: Principal) -> JobFilter:
        """What was asked for with what the filter of this name adds; what was asked for counts.

        One's own comes before those that are shared.

        Raises:
            NotFound: there is none of this name that `by` may see.
            Conflict: several projects share one of this name.
        """
        async with self._database.reading() as tx:
            found = await tx.filters.seen(by.name, by.projects(Action.JOBS_READ), name)
        if not found:
            raise _missing(name)
        if len(found) > 1 and found[0].shared is not None:
            projects = ", ".join(f"`{each.shared}`" for each in found)
            raise Conflict(
                f"there is a filter `{name}` in each of {projects}; save one of your own"
            )
        return _with(where, found[0].jobs)

    async def _check(self, project: str | None, by: Principal) -> None:
        if project is not None:
            await self._projects.choose(project, by)


def _with(where: JobFilter, saved: SavedJobs) -> JobFilter:
    projects = where.projects
    if saved.project is not None:
        seen = projects is None or saved.project in projects
        projects = frozenset({saved.project} if seen else ())
    return replace(
        where,
        states=where.states or saved.state,
        projects=projects,
        provider_id=where.provider_id or saved.provider,
        owner=where.owner or saved.owner,
        name=where.name or saved.name,
        labels={**saved.label, **where.labels},
        group_id=where.group_id or saved.group,
        created_after=where.created_after or saved.since(datetime.now(UTC)),
    )


def _subject(name: str, project: str | None) -> str:
    return name if project is None else f"{project}/{name}"


def _audited(old: SavedFilter | None) -> Mapping[str, Any]:
    return {} if old is None else old.jobs.model_dump(mode="json", exclude_defaults=True)


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no filter `{name[:63]}`")
