"""Projects, their members, and to which one a job or group belongs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Row, Transacts
from cortex.db.tables.accounts import UserRow
from cortex.db.tables.base import NOW
from cortex.db.tables.groups import JobGroupRow
from cortex.db.tables.jobs import JobRow
from cortex.db.tables.projects import ProjectMemberRow, ProjectRow
from cortex.db.tables.schedules import ScheduleRow
from cortex.db.tables.templates import TemplateRow
from cortex.db.tables.webhooks import WebhookRow
from cortex.domain.errors import NotFound
from cortex.domain.projects import Member, Project
from cortex.domain.rights import Role

CHANNEL: Final = "cortex_project_members"
"""Told when somebody comes, goes, or has another role."""

_OWNED: Final[Mapping[str, type[JobRow | JobGroupRow | TemplateRow | ScheduleRow | WebhookRow]]] = {
    "grp": JobGroupRow,
    "tpl": TemplateRow,
    "sch": ScheduleRow,
    "whk": WebhookRow,
}
"""By the prefix of an id; all else are jobs."""
_NAMES: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('names', 0))")


@dataclass(frozen=True)
class Whose:
    """Who submitted something, and where it belongs; neither changes ever."""

    owner: str
    project: str


class ProjectRepository(Repository[Access]):
    async def lock_names(self: "ProjectRepository[Transacts]") -> None:
        """Let nobody else take a name, of a project or of a user, until the transaction ends."""
        await self.connection.execute(_NAMES)

    async def add(
        self: "ProjectRepository[Transacts]", name: str, description: str, created_by: str
    ) -> bool:
        """Add a project; False if there is one of this name."""
        statement = (
            upsert(ProjectRow)
            .values(name=name, description=description, created_by=created_by)
            .on_conflict_do_nothing()
            .returning(ProjectRow.name)
        )
        return (await self.connection.execute(statement)).scalar_one_or_none() is not None

    async def all(self, names: frozenset[str] | None = None) -> list[Project]:
        """Every project, by name; with `names` these only."""
        query = select(ProjectRow.__table__).order_by(ProjectRow.name)
        members = select(ProjectMemberRow.__table__).order_by(ProjectMemberRow.member)
        if names is not None:
            query = query.where(ProjectRow.name.in_(names))
            members = members.where(ProjectMemberRow.project.in_(names))
        rows = (await self.connection.execute(query)).mappings().all()
        of: dict[str, list[Member]] = {row["name"]: [] for row in rows}
        for row in (await self.connection.execute(members)).mappings():
            if row["project"] in of:
                of[row["project"]].append(_member(row))
        return [Project(**{**row, "members": tuple(of[row["name"]])}) for row in rows]

    async def find(self, name: str) -> Project | None:
        """The project of this name, if it was made."""
        projects = await self.all(frozenset({name}))
        return projects[0] if projects else None

    async def get(self, name: str) -> Project:
        """One project.

        Raises:
            NotFound: none of this name was made.
        """
        project = await self.find(name)
        if project is None:
            raise no_project(name)
        return project

    async def lock(self: "ProjectRepository[Transacts]", name: str) -> Project:
        """One project, which nobody else changes until the transaction ends.

        Raises:
            NotFound: none of this name was made.
        """
        query = select(ProjectRow.name).where(ProjectRow.name == name).with_for_update()
        if (await self.connection.execute(query)).first() is None:
            raise no_project(name)
        return await self.get(name)

    async def put(
        self: "ProjectRepository[Transacts]", name: str, description: str, *, archived: bool
    ) -> None:
        """Write what it is for, and whether it takes anything new."""
        values: dict[str, Any] = {
            "description": description,
            "updated_at": NOW,
            "archived_at": text("coalesce(archived_at, now())") if archived else None,
        }
        await self.connection.execute(
            update(ProjectRow).where(ProjectRow.name == name).values(**values)
        )

    async def put_member(
        self: "ProjectRepository[Transacts]", name: str, member: str, role: Role, added_by: str
    ) -> None:
        """Let somebody in, or give them another role."""
        statement = upsert(ProjectMemberRow).values(
            project=name, member=member, role=role.value, added_by=added_by
        )
        await self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["project", "member"], set_={"role": role.value}
            )
        )

    async def remove_member(self: "ProjectRepository[Transacts]", name: str, member: str) -> bool:
        """Let somebody be in it no longer; False if they were not."""
        statement = delete(ProjectMemberRow).where(
            ProjectMemberRow.project == name, ProjectMemberRow.member == member
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def memberships(self, member: str) -> Mapping[str, Role]:
        """The projects that somebody is in, with the role there."""
        query = select(ProjectMemberRow.project, ProjectMemberRow.role).where(
            ProjectMemberRow.member == member
        )
        return {row.project: Role(row.role) for row in await self.connection.execute(query)}

    async def is_user(self, name: str) -> bool:
        """Whether there is a user of this name, who has a personal project therefore."""
        query = select(UserRow.id).where(UserRow.name == name)
        return (await self.connection.execute(query)).first() is not None

    async def whose(self, subject_id: str) -> Whose | None:
        """Where a job, group, template or so belongs; None if there is none with this id."""
        table = _OWNED.get(subject_id.partition("_")[0], JobRow)
        query = select(table.owner, table.project).where(table.id == subject_id)
        row = (await self.connection.execute(query)).first()
        return None if row is None else Whose(row.owner, row.project)


def no_project(name: str) -> NotFound:
    return NotFound(f"there is no project `{name[:63]}`")


def _member(row: Row) -> Member:
    return Member(
        name=row["member"],
        role=Role(row["role"]),
        added_at=row["added_at"],
        added_by=row["added_by"],
    )
