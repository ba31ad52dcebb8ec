"""Templates: made, changed by a new version, found, taken away."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Row, Transacts
from cortex.db.tables.base import NOW
from cortex.db.tables.templates import TemplateRow, TemplateVersionRow
from cortex.domain.errors import NotFound
from cortex.domain.templates import Kind, Template, TemplateSummary

_SUMMARY: Final = (
    TemplateRow.id,
    TemplateRow.project,
    TemplateRow.owner,
    TemplateRow.name,
    TemplateRow.kind,
    TemplateRow.latest,
)


class TemplateRepository(Repository[Access]):
    async def lock_project(self: "TemplateRepository[Transacts]", project: str) -> int:
        """How many templates a project has; nobody else adds one until the transaction ends."""
        lock = select(func.pg_advisory_xact_lock(func.hashtext(f"templates of {project}")))
        await self.connection.execute(lock)
        query = select(func.count()).where(TemplateRow.project == project)
        return int((await self.connection.execute(query)).scalar_one())

    async def add(
        self: "TemplateRepository[Transacts]",
        template_id: str,
        *,
        project: str,
        owner: str,
        name: str,
        kind: Kind,
    ) -> bool:
        """Store a template that has no version yet; False if the project has one of this name."""
        statement = (
            upsert(TemplateRow)
            .values(id=template_id, project=project, owner=owner, name=name, kind=kind, latest=0)
            .on_conflict_do_nothing()
            .returning(TemplateRow.id)
        )
        return (await self.connection.execute(statement)).scalar_one_or_none() is not None

    async def add_version(
        self: "TemplateRepository[Transacts]",
        template_id: str,
        *,
        description: str,
        parameters: Mapping[str, Any],
        spec: Mapping[str, Any],
        created_by: str,
    ) -> None:
        """Store the next version; the template must be locked."""
        raised = (
            update(TemplateRow)
            .where(TemplateRow.id == template_id)
            .values(latest=TemplateRow.latest + 1, updated_at=NOW)
            .returning(TemplateRow.latest)
        )
        version = (await self.connection.execute(raised)).scalar_one()
        await self.connection.execute(
            insert(TemplateVersionRow).values(
                template_id=template_id,
                version=version,
                description=description,
                parameters=dict(parameters),
                spec=dict(spec),
                created_by=created_by,
            )
        )

    async def lock(self: "TemplateRepository[Transacts]", template_id: str) -> Template:
        """A template at its latest version, which nobody else changes until the transaction ends.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(TemplateRow.id).where(TemplateRow.id == template_id).with_for_update()
        if (await self.connection.execute(query)).first() is None:
            raise no_template(template_id)
        return await self.get(template_id)

    async def get(self, template_id: str, version: int | None = None) -> Template:
        """A template at a version; None: the latest.

        Raises:
            NotFound: there is none with this id, or it has no such version.
        """
        query = _versions().where(TemplateRow.id == template_id)
        wanted = TemplateRow.latest if version is None else version
        row = (
            (await self.connection.execute(query.where(TemplateVersionRow.version == wanted)))
            .mappings()
            .first()
        )
        if row is None and version is not None:
            latest = (await self.get(template_id)).latest
            raise NotFound(
                f"template `{template_id}` has no version {version}; the latest is {latest}"
            )
        if row is None:
            raise no_template(template_id)
        return _template(row)

    async def versions(self, template_id: str, before: int | None, limit: int) -> list[Template]:
        """Versions of a template, the newest first; those before `before`."""
        query = (
            _versions()
            .where(TemplateRow.id == template_id)
            .order_by(TemplateVersionRow.version.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(TemplateVersionRow.version < before)
        return [_template(row) for row in (await self.connection.execute(query)).mappings()]

    async def page(
        self,
        projects: frozenset[str] | None,
        *,
        name: str | None,
        before: str | None,
        limit: int,
    ) -> list[TemplateSummary]:
        """Templates of these projects (None: all), the newest first; those before an id."""
        query = (
            select(
                *_SUMMARY,
                TemplateVersionRow.description,
                TemplateRow.created_at,
                TemplateRow.updated_at,
            )
            .join(
                TemplateVersionRow,
                (TemplateVersionRow.template_id == TemplateRow.id)
                & (TemplateVersionRow.version == TemplateRow.latest),
            )
            .order_by(TemplateRow.id.desc())
            .limit(limit)
        )
        if projects is not None:
            query = query.where(TemplateRow.project.in_(projects))
        if name is not None:
            query = query.where(TemplateRow.name == name)
        if before is not None:
            query = query.where(TemplateRow.id < before)
        rows = (await self.connection.execute(query)).mappings()
        return [TemplateSummary(**{**row, "version": row["latest"]}) for row in rows]

    async def remove(self: "TemplateRepository[Transacts]", template_id: str) -> None:
        """Take a template away with all its versions."""
        await self.connection.execute(delete(TemplateRow).where(TemplateRow.id == template_id))


def no_template(template_id: str) -> NotFound:
    return NotFound(f"there is no template `{template_id[:60]}`")


def _versions() -> Select[Any]:
    return select(
        *_SUMMARY,
        TemplateVersionRow.version,
        TemplateVersionRow.description,
        TemplateVersionRow.parameters,
        TemplateVersionRow.spec,
        TemplateVersionRow.created_at,
        TemplateVersionRow.created_by,
    ).join(TemplateVersionRow, TemplateVersionRow.template_id == TemplateRow.id)


def _template(row: Row) -> Template:
    values = {name: value for name, value in row.items() if name != "spec"}
    return Template.model_validate({**values, row["kind"]: row["spec"]})
