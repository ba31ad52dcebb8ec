"""Named secrets of projects. Every statement is about one project."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select, text, update

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.named_secrets import NamedSecretRow
from cortex.domain.errors import NotFound
from cortex.domain.named_secrets import NamedSecret

_LOCK: Final = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('named-secrets ' || :project, 0))"
)
# To the minute, and never waiting: many jobs that are accepted at once use the same few.
_USED: Final = text("""
UPDATE named_secrets SET used_at = now() WHERE id IN (
    SELECT id FROM named_secrets
    WHERE id = ANY(:ids) AND (used_at IS NULL OR used_at < now() - interval '1 minute')
    FOR UPDATE SKIP LOCKED
)
""")
_SHOWN: Final = tuple(getattr(NamedSecretRow, name) for name in NamedSecret.model_fields)


@dataclass(frozen=True)
class SealedSecret:
    """A secret as it is stored."""

    id: str
    name: str
    blob: bytes


@dataclass(frozen=True)
class StoredSecret:
    """A secret and its id, which a later one of the same name does not have."""

    id: str
    info: NamedSecret


class NamedSecretRepository(Repository[Access]):
    async def lock(self: "NamedSecretRepository[Transacts]", project: str) -> None:
        """Let nobody else change the secrets of a project until the transaction ends."""
        await self.connection.execute(_LOCK, {"project": project})

    async def all(self, project: str) -> list[NamedSecret]:
        """Those of a project, by name."""
        query = (
            select(*_SHOWN).where(NamedSecretRow.project == project).order_by(NamedSecretRow.name)
        )
        rows = (await self.connection.execute(query)).mappings()
        return [NamedSecret.model_validate(dict(row)) for row in rows]

    async def count(self, project: str) -> int:
        """How many a project has."""
        query = select(func.count()).where(NamedSecretRow.project == project)
        return (await self.connection.execute(query)).scalar_one()

    async def find(self, project: str, name: str) -> StoredSecret | None:
        """One of a project, if it has it."""
        query = select(NamedSecretRow.id, *_SHOWN).where(
            NamedSecretRow.project == project, NamedSecretRow.name == name
        )
        row = (await self.connection.execute(query)).mappings().first()
        return None if row is None else _stored(row)

    async def get(self, project: str, name: str) -> StoredSecret:
        """One of a project.

        Raises:
            NotFound: the project has none of this name.
        """
        stored = await self.find(project, name)
        if stored is None:
            raise no_secret(project, name)
        return stored

    async def add(
        self: "NamedSecretRepository[Transacts]",
        secret_id: str,
        *,
        project: str,
        name: str,
        sealed: bytes,
        by: str,
    ) -> None:
        """Add one to a project that is locked."""
        await self.connection.execute(
            insert(NamedSecretRow).values(
                id=secret_id, project=project, name=name, sealed=sealed, owner=by, set_by=by
            )
        )

    async def replace(
        self: "NamedSecretRepository[Transacts]", secret_id: str, sealed: bytes, by: str
    ) -> None:
        """Give one of a project that is locked another value."""
        await self.connection.execute(
            update(NamedSecretRow)
            .where(NamedSecretRow.id == secret_id)
            .values(sealed=sealed, version=NamedSecretRow.version + 1, set_by=by, set_at=NOW)
        )

    async def remove(self: "NamedSecretRepository[Transacts]", secret_id: str) -> None:
        """Take one away from a project that is locked."""
        await self.connection.execute(delete(NamedSecretRow).where(NamedSecretRow.id == secret_id))

    async def sealed(self, project: str, names: Collection[str]) -> list[SealedSecret]:
        """Those of a project that have these names."""
        query = select(NamedSecretRow.id, NamedSecretRow.name, NamedSecretRow.sealed).where(
            NamedSecretRow.project == project, NamedSecretRow.name.in_(names)
        )
        rows = await self.connection.execute(query)
        return [SealedSecret(row.id, row.name, bytes(row.sealed)) for row in rows]

    async def used(self: "NamedSecretRepository[Writes]", ids: Sequence[str]) -> None:
        """Write down that these are used now."""
        await self.connection.execute(_USED, {"ids": list(ids)})


def no_secret(project: str, name: str) -> NotFound:
    """That a project has no secret of this name."""
    return NotFound(f"there is no secret `{name[:63]}` in the project `{project}`")


def _stored(row: Row) -> StoredSecret:
    shown = dict(row)
    return StoredSecret(shown.pop("id"), NamedSecret.model_validate(shown))
