"""One-time links by which somebody sets a password."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select, update

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.accounts import UserRow
from cortex.db.tables.base import NOW
from cortex.db.tables.logins import LoginLinkRow
from cortex.domain.links import LinkKind


@dataclass(frozen=True)
class StoredLink:
    """A link: whose, and whether it opens anything (by the database's time)."""

    user_id: str
    name: str
    active: bool
    kind: LinkKind
    expired: bool
    used_at: datetime | None


class LinkRepository(Repository[Access]):
    async def add(
        self: "LinkRepository[Transacts]",
        hash: str,
        user_id: str,
        kind: LinkKind,
        lifetime: timedelta,
        *,
        created_by: str,
    ) -> datetime:
        """Add a link in place of those of this user that were not used; when it expires."""
        await self.void(user_id)
        statement = (
            insert(LoginLinkRow)
            .values(
                hash=hash,
                user_id=user_id,
                kind=kind,
                created_by=created_by,
                expires_at=func.now() + lifetime,
            )
            .returning(LoginLinkRow.expires_at)
        )
        return (await self.connection.execute(statement)).scalar_one()

    async def void(self: "LinkRepository[Writes]", user_id: str) -> None:
        """Let those of a user that were not used open nothing any more."""
        await self.connection.execute(
            delete(LoginLinkRow).where(
                LoginLinkRow.user_id == user_id, LoginLinkRow.used_at.is_(None)
            )
        )

    async def find(self, hash: str, *, lock: bool = False) -> StoredLink | None:
        """A link, also one that opens nothing any more; None: it is not known."""
        query = (
            select(
                UserRow.id,
                UserRow.name,
                UserRow.active,
                LoginLinkRow.kind,
                LoginLinkRow.expires_at <= func.now(),
                LoginLinkRow.used_at,
            )
            .join(UserRow, UserRow.id == LoginLinkRow.user_id)
            .where(LoginLinkRow.hash == hash)
        )
        if lock:
            query = query.with_for_update()
        row = (await self.connection.execute(query)).first()
        if row is None:
            return None
        user_id, name, active, kind, expired, used_at = row
        return StoredLink(user_id, name, active, LinkKind(kind), expired, used_at)

    async def use(self: "LinkRepository[Writes]", hash: str) -> None:
        """Note that it was used."""
        statement = update(LoginLinkRow).where(LoginLinkRow.hash == hash).values(used_at=NOW)
        await self.connection.execute(statement)

    async def expire(self: "LinkRepository[Writes]", retention: timedelta) -> int:
        """Delete those that expired so long ago."""
        statement = delete(LoginLinkRow).where(LoginLinkRow.expires_at < func.now() - retention)
        return int((await self.connection.execute(statement)).rowcount)
