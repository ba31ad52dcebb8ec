"""Providers that the API manages: their configuration, their encrypted credentials, their drafts.

A draft is a configuration that a worker is asked to check, because only workers know the types.
It is encrypted as a whole until the worker has told its secrets from the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.providers import ProviderDraftRow, ProviderRow, ProviderTypeRow

_MANAGED = (
    ProviderRow.id,
    ProviderRow.type,
    ProviderRow.version,
    ProviderRow.enabled,
    ProviderRow.config,
    ProviderRow.credentials,
    ProviderRow.rate_limit,
)


@dataclass(frozen=True)
class ManagedProvider:
    """What a worker needs to build a provider."""

    id: str
    type: str
    version: int
    enabled: bool
    config: dict[str, Any]
    credentials: bytes | None
    rate_limit: float | None


@dataclass(frozen=True)
class Draft:
    id: str
    provider_id: str
    type: str
    sealed: bytes
    config: dict[str, Any] | None
    credentials: bytes | None
    secret_fields: tuple[str, ...]


@dataclass(frozen=True)
class ProviderType:
    name: str
    json_schema: dict[str, Any]
    secret_fields: tuple[str, ...]


class ProviderChanges(TypedDict, total=False):
    """What is changed of a provider; what is not given stays. `checked_at`: it is to be checked."""

    rate_limit: float | None
    config: dict[str, Any] | None
    credentials: bytes | None
    secret_fields: list[str]
    checked_at: None


class ManagedProviderRepository(Repository[Access]):
    async def all(self) -> list[ManagedProvider]:
        query = select(*_MANAGED).where(ProviderRow.source == "api").order_by(ProviderRow.id)
        return [ManagedProvider(*row) for row in (await self.connection.execute(query)).all()]

    async def find(self, provider_id: str) -> ManagedProvider | None:
        query = select(*_MANAGED).where(ProviderRow.id == provider_id, ProviderRow.source == "api")
        row = (await self.connection.execute(query)).first()
        return ManagedProvider(*row) if row else None

    async def lock(self: "ManagedProviderRepository[Transacts]", provider_id: str) -> None:
        """Changes of one provider come one after the other."""
        query = text("SELECT pg_advisory_xact_lock(hashtextextended('provider:' || :id, 0))")
        await self.connection.execute(query, {"id": provider_id})

    async def lock_key(self: "ManagedProviderRepository[Transacts]", provider_id: str) -> None:
        """Wait for placements that are being written, and let none begin until the end."""
        query = select(ProviderRow.id).where(ProviderRow.id == provider_id).with_for_update()
        await self.connection.execute(query)

    async def create(
        self: "ManagedProviderRepository[Transacts]",
        draft: Draft,
        *,
        enabled: bool,
        rate_limit: float | None,
    ) -> bool:
        """Make it from a checked draft. False: there is one that this must not replace.

        One of the settings that no worker has any more is taken over, if it is of the same type.
        """
        values = {
            "type": draft.type,
            "enabled": enabled,
            "source": "api",
            "configured": True,
            "config": draft.config,
            "credentials": draft.credentials,
            "secret_fields": list(draft.secret_fields),
            "rate_limit": rate_limit,
            "checked_at": None,
            "updated_at": NOW,
        }
        statement = (
            upsert(ProviderRow)
            .values(id=draft.provider_id, **values)
            .on_conflict_do_update(
                index_elements=["id"],
                set_={**values, "version": ProviderRow.version + 1},
                where=(ProviderRow.source == "settings")
                & ~ProviderRow.configured
                & (ProviderRow.type == draft.type),
            )
            .returning(ProviderRow.id)
        )
        return (await self.connection.execute(statement)).scalar_one_or_none() is not None

    async def set_enabled(
        self: "ManagedProviderRepository[Transacts]", provider_id: str, version: int, enabled: bool
    ) -> bool:
        """Let it take new jobs, or not; False if it is not at this version any more."""
        return await self._change(provider_id, version, enabled=enabled)

    async def reconfigure(
        self: "ManagedProviderRepository[Transacts]",
        provider_id: str,
        version: int,
        changes: ProviderChanges,
    ) -> bool:
        """Change how it is reached; False if it is not at this version any more."""
        return await self._change(provider_id, version, **changes)

    async def _change(
        self: "ManagedProviderRepository[Transacts]", provider_id: str, version: int, **values: Any
    ) -> bool:
        # Workers take up a new version at once.
        statement = (
            update(ProviderRow)
            .where(
                ProviderRow.id == provider_id,
                ProviderRow.source == "api",
                ProviderRow.version == version,
            )
            .values(version=ProviderRow.version + 1, updated_at=NOW, **values)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def remove(self: "ManagedProviderRepository[Transacts]", provider_id: str) -> None:
        await self.connection.execute(delete(ProviderRow).where(ProviderRow.id == provider_id))

    async def add_draft(
        self: "ManagedProviderRepository[Writes]",
        draft_id: str,
        provider_id: str,
        type_name: str,
        sealed: bytes,
    ) -> None:
        values = {"id": draft_id, "provider_id": provider_id, "type": type_name, "sealed": sealed}
        await self.connection.execute(insert(ProviderDraftRow).values(**values))

    async def draft(self, draft_id: str) -> Draft | None:
        query = select(ProviderDraftRow.__table__).where(ProviderDraftRow.id == draft_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            return None
        return Draft(
            id=row["id"],
            provider_id=row["provider_id"],
            type=row["type"],
            sealed=row["sealed"],
            config=row["config"],
            credentials=row["credentials"],
            secret_fields=tuple(row["secret_fields"]),
        )

    async def checked(
        self: "ManagedProviderRepository[Writes]",
        draft_id: str,
        *,
        config: Mapping[str, Any],
        credentials: bytes | None,
        secret_fields: Sequence[str],
    ) -> None:
        """A worker found the draft good, and told its secrets from the rest."""
        await self.connection.execute(
            update(ProviderDraftRow)
            .where(ProviderDraftRow.id == draft_id)
            .values(config=dict(config), credentials=credentials, secret_fields=list(secret_fields))
        )

    async def drop_draft(self: "ManagedProviderRepository[Writes]", draft_id: str) -> None:
        await self.connection.execute(
            delete(ProviderDraftRow).where(ProviderDraftRow.id == draft_id)
        )

    async def expire_drafts(
        self: "ManagedProviderRepository[Writes]", older_than: timedelta
    ) -> int:
        """Delete those that an API process left behind when it died; returns how many."""
        statement = delete(ProviderDraftRow).where(
            ProviderDraftRow.created_at < func.now() - older_than
        )
        return int((await self.connection.execute(statement)).rowcount)

    async def publish_types(
        self: "ManagedProviderRepository[Transacts]", types: Sequence[ProviderType]
    ) -> None:
        """A worker tells which types it has."""
        for kind in types:
            values = {
                "json_schema": kind.json_schema,
                "secret_fields": list(kind.secret_fields),
                "updated_at": NOW,
            }
            await self.connection.execute(
                upsert(ProviderTypeRow)
                .values(name=kind.name, **values)
                .on_conflict_do_update(index_elements=["name"], set_=values)
            )

    async def types(self) -> list[ProviderType]:
        query = select(ProviderTypeRow.__table__).order_by(ProviderTypeRow.name)
        return [
            ProviderType(row["name"], row["json_schema"], tuple(row["secret_fields"]))
            for row in (await self.connection.execute(query)).mappings()
        ]
