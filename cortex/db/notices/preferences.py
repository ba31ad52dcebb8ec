"""What persons want to be told, and how they are reached."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.accounts import UserRow
from cortex.db.tables.base import NOW
from cortex.db.tables.notices import NoticePreferenceRow
from cortex.db.tables.projects import ProjectMemberRow
from cortex.domain.notices import NoticeEvent, Preferences


@dataclass(frozen=True)
class StoredPreferences:
    """What somebody has chosen, with what is not shown; `sealed` is encrypted."""

    chosen: Preferences
    sealed: bytes | None


class PreferenceRepository(Repository[Access]):
    async def find(self, names: Collection[str]) -> dict[str, StoredPreferences]:
        """Of those of these names who have chosen."""
        row = NoticePreferenceRow
        query = select(row.__table__).where(row.id.in_(list(names)))
        rows = (await self.connection.execute(query)).mappings()
        return {each["id"]: _stored(each) for each in rows}

    async def lock(self: "PreferenceRepository[Transacts]", name: str) -> StoredPreferences | None:
        """Of one person, which nobody else changes until the transaction ends."""
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 7))")
        await self.connection.execute(lock, {"name": name})
        return (await self.find([name])).get(name)

    async def put(
        self: "PreferenceRepository[Writes]",
        name: str,
        chosen: Preferences,
        sealed: bytes | None,
        unsubscribe_hash: str,
    ) -> None:
        """Store what somebody has chosen, in place of what was."""
        values: dict[str, Any] = {
            "enabled": chosen.enabled,
            "named": chosen.named,
            "own": [each.value for each in chosen.own],
            "projects": [each.value for each in chosen.projects],
            "email": chosen.email,
            "chat": chosen.chat,
            "sealed": sealed,
            "unsubscribe_hash": unsubscribe_hash,
            "updated_at": NOW,
        }
        await self.connection.execute(
            upsert(NoticePreferenceRow)
            .values(id=name, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )

    async def unsubscribe(self: "PreferenceRepository[Writes]", hash: str) -> str | None:
        """Tell whoever has this token nothing any more; their name, None: nobody has it."""
        statement = (
            update(NoticePreferenceRow)
            .where(NoticePreferenceRow.unsubscribe_hash == hash)
            .values(enabled=False, updated_at=NOW)
            .returning(NoticePreferenceRow.id)
        )
        return (await self.connection.execute(statement)).scalar_one_or_none()

    async def addresses(self, names: Collection[str]) -> dict[str, str]:
        """Addresses of users who have one."""
        query = select(UserRow.name, UserRow.email).where(
            UserRow.name.in_(list(names)), UserRow.email != ""
        )
        return {row.name: row.email for row in await self.connection.execute(query)}

    async def members(self, projects: Collection[str]) -> dict[str, set[str]]:
        """Who wants to be told of others' things in these projects: projects by names."""
        row = NoticePreferenceRow
        query = (
            select(ProjectMemberRow.project, ProjectMemberRow.member)
            .join(row, row.id == ProjectMemberRow.member)
            .where(
                ProjectMemberRow.project.in_(list(projects)),
                row.enabled,
                row.projects != [],
            )
        )
        wanting: dict[str, set[str]] = {}
        for project, member in await self.connection.execute(query):
            wanting.setdefault(member, set()).add(project)
        return wanting

    async def has_chats(self) -> bool:
        """Whether anybody has a chat."""
        query = select(NoticePreferenceRow.id).where(NoticePreferenceRow.chat != "").limit(1)
        return (await self.connection.execute(query)).first() is not None


def _stored(row: Row) -> StoredPreferences:
    chosen = Preferences(
        enabled=row["enabled"],
        named=row["named"],
        own=tuple(NoticeEvent(each) for each in row["own"]),
        projects=tuple(NoticeEvent(each) for each in row["projects"]),
        email=row["email"],
        chat=row["chat"],
    )
    sealed = row["sealed"]
    return StoredPreferences(chosen, None if sealed is None else bytes(sealed))
