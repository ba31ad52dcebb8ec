"""Saved filters: found, put, taken away."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update

from cortex.db.base import Access, Repository, Row, Transacts
from cortex.db.tables.base import NOW
from cortex.db.tables.filters import SavedFilterRow
from cortex.domain.filters import SavedFilter


class SavedFilterRepository(Repository[Access]):
    async def seen(
        self, owner: str, projects: frozenset[str] | None, name: str | None = None
    ) -> list[SavedFilter]:
        """One's own, and those shared in these projects (None: in all); one's own first."""
        shared: ColumnElement[bool] = SavedFilterRow.project.is_not(None)
        if projects is not None:
            shared = SavedFilterRow.project.in_(projects)
        query = (
            select(SavedFilterRow.__table__)
            .where(or_(_own(owner), shared))
            .order_by(
                SavedFilterRow.project.is_not(None), SavedFilterRow.name, SavedFilterRow.project
            )
        )
        if name is not None:
            query = query.where(SavedFilterRow.name == name)
        return [_filter(row) for row in (await self.connection.execute(query)).mappings()]

    async def lock(
        self: "SavedFilterRepository[Transacts]", owner: str, project: str | None
    ) -> list[SavedFilter]:
        """All of an owner, or of a project; nobody else changes them meanwhile."""
        whose = f"filters of {project}" if project else f"own filters of {owner}"
        await self.connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(whose))))
        query = select(SavedFilterRow.__table__).where(_of(owner, project))
        return [_filter(row) for row in (await self.connection.execute(query)).mappings()]

    async def put(
        self: "SavedFilterRepository[Transacts]",
        new_id: str,
        name: str,
        *,
        owner: str,
        project: str | None,
        jobs: Mapping[str, Any],
    ) -> None:
        """Store it, in place of the one of this name."""
        where = and_(_of(owner, project), SavedFilterRow.name == name)
        values = {"owner": owner, "jobs": dict(jobs), "updated_at": NOW}
        changed = await self.connection.execute(
            update(SavedFilterRow).where(where).values(values).returning(SavedFilterRow.id)
        )
        if changed.first() is None:
            await self.connection.execute(
                insert(SavedFilterRow).values(id=new_id, name=name, project=project, **values)
            )

    async def remove(
        self: "SavedFilterRepository[Transacts]", name: str, owner: str, project: str | None
    ) -> None:
        """Take it away."""
        where = and_(_of(owner, project), SavedFilterRow.name == name)
        await self.connection.execute(delete(SavedFilterRow).where(where))


def _own(owner: str) -> ColumnElement[bool]:
    return and_(SavedFilterRow.owner == owner, SavedFilterRow.project.is_(None))


def _of(owner: str, project: str | None) -> ColumnElement[bool]:
    return _own(owner) if project is None else SavedFilterRow.project == project


def _filter(row: Row) -> SavedFilter:
    values = {name: row[name] for name in ("name", "owner", "jobs", "updated_at")}
    return SavedFilter.model_validate({**values, "shared": row["project"]})
