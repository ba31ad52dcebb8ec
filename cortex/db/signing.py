"""The keys that sign access tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, insert, or_, select, text, update

from cortex.db.base import Access, Repository, Transacts
from cortex.db.tables.base import NOW
from cortex.db.tables.sessions import SigningKeyRow

# One process makes the next key, the others take that one.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtext('cortex signing keys'))")


@dataclass(frozen=True)
class StoredSigningKey:
    """A key pair: its public half, and all of it under the key ring."""

    id: str
    public: Mapping[str, str]
    sealed: bytes
    created_at: datetime


class SigningKeyRepository(Repository[Access]):
    async def lock(self: "SigningKeyRepository[Transacts]") -> None:
        """Let nobody else make a key until the transaction ends."""
        await self.connection.execute(_LOCK)

    async def newest(self, *, younger_than: timedelta) -> StoredSigningKey | None:
        """The key that signs; None: there is none, or it is too old."""
        query = (
            select(
                SigningKeyRow.id,
                SigningKeyRow.public,
                SigningKeyRow.sealed,
                SigningKeyRow.created_at,
            )
            .where(
                SigningKeyRow.retired_at.is_(None),
                SigningKeyRow.created_at > func.now() - younger_than,
            )
            .order_by(SigningKeyRow.created_at.desc(), SigningKeyRow.id.desc())
            .limit(1)
        )
        row = (await self.connection.execute(query)).first()
        return None if row is None else StoredSigningKey(*row)

    async def public(self, *, kept: timedelta) -> list[dict[str, str]]:
        """The public keys, those that were replaced less than `kept` ago among them."""
        query = (
            select(SigningKeyRow.public)
            .where(
                or_(
                    SigningKeyRow.retired_at.is_(None),
                    SigningKeyRow.retired_at > func.now() - kept,
                )
            )
            .order_by(SigningKeyRow.created_at.desc(), SigningKeyRow.id.desc())
        )
        return [dict(public) for public in (await self.connection.execute(query)).scalars()]

    async def replace(
        self: "SigningKeyRepository[Transacts]",
        key_id: str,
        public: Mapping[str, str],
        sealed: bytes,
        *,
        kept: timedelta,
    ) -> None:
        """Let a new key sign; of those before, drop what was replaced longer than `kept` ago."""
        await self.connection.execute(
            delete(SigningKeyRow).where(SigningKeyRow.retired_at < func.now() - kept)
        )
        await self.connection.execute(
            update(SigningKeyRow).where(SigningKeyRow.retired_at.is_(None)).values(retired_at=NOW)
        )
        await self.connection.execute(
            insert(SigningKeyRow).values(id=key_id, public=dict(public), sealed=sealed)
        )
