"""Passkeys, and challenges that one of them has to sign, once."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.passkeys import PasskeyChallengeRow, PasskeyRow
from cortex.domain.passkeys import ChallengeKind, Passkey

_SHOWN = (
    PasskeyRow.id,
    PasskeyRow.name,
    PasskeyRow.backed_up,
    PasskeyRow.created_at,
    PasskeyRow.last_used_at,
)


@dataclass(frozen=True)
class StoredPasskey:
    """What a signature is checked with.

    Attributes:
        sign_count: How often it was used, as it has said last; 0: it does not count.
    """

    id: str
    credential_id: bytes
    public_key: bytes
    sign_count: int


class PasskeyRepository(Repository[Access]):
    async def challenge(
        self: "PasskeyRepository[Transacts]",
        hash: str,
        user_id: str,
        kind: ChallengeKind,
        lifetime: timedelta,
    ) -> None:
        """Note a challenge, in place of the user's last one of this kind."""
        await self.connection.execute(
            delete(PasskeyChallengeRow).where(
                PasskeyChallengeRow.user_id == user_id, PasskeyChallengeRow.kind == kind
            )
        )
        expires_at = func.now() + lifetime
        values = {"hash": hash, "user_id": user_id, "kind": kind, "expires_at": expires_at}
        await self.connection.execute(insert(PasskeyChallengeRow).values(**values))

    async def take_challenge(
        self: "PasskeyRepository[Writes]", hash: str, kind: ChallengeKind
    ) -> str | None:
        """Id of the user whose challenge it is, once; None: it is nobody's, or not any more."""
        statement = (
            delete(PasskeyChallengeRow)
            .where(PasskeyChallengeRow.hash == hash, PasskeyChallengeRow.kind == kind)
            .returning(PasskeyChallengeRow.user_id, PasskeyChallengeRow.expires_at > func.now())
        )
        row = (await self.connection.execute(statement)).first()
        return row[0] if row is not None and row[1] else None

    async def void_challenges(self: "PasskeyRepository[Writes]", user_id: str) -> None:
        """Whoever had the password that a challenge was given for has it no more."""
        await self.connection.execute(
            delete(PasskeyChallengeRow).where(PasskeyChallengeRow.user_id == user_id)
        )

    async def of(self, user_id: str) -> list[StoredPasskey]:
        """A user's passkeys, for checking signatures."""
        query = select(
            PasskeyRow.id, PasskeyRow.credential_id, PasskeyRow.public_key, PasskeyRow.sign_count
        ).where(PasskeyRow.user_id == user_id)
        return [
            StoredPasskey(row[0], bytes(row[1]), bytes(row[2]), row[3])
            for row in await self.connection.execute(query)
        ]

    async def shown(self, user_id: str) -> list[Passkey]:
        """A user's passkeys, the oldest first."""
        query = select(*_SHOWN).where(PasskeyRow.user_id == user_id).order_by(PasskeyRow.id)
        rows = (await self.connection.execute(query)).mappings()
        return [Passkey.model_validate(dict(row)) for row in rows]

    async def count(self, user_id: str) -> int:
        """How many a user has."""
        query = select(func.count()).where(PasskeyRow.user_id == user_id)
        return int((await self.connection.execute(query)).scalar_one())

    async def add(
        self: "PasskeyRepository[Writes]",
        user_id: str,
        passkey: StoredPasskey,
        *,
        name: str,
        backed_up: bool,
    ) -> bool:
        """Add one; False if it is somebody's already."""
        statement = (
            upsert(PasskeyRow)
            .values(
                id=passkey.id,
                user_id=user_id,
                credential_id=passkey.credential_id,
                public_key=passkey.public_key,
                sign_count=passkey.sign_count,
                name=name,
                backed_up=backed_up,
            )
            .on_conflict_do_nothing(index_elements=["credential_id"])
            .returning(PasskeyRow.id)
        )
        return (await self.connection.execute(statement)).first() is not None

    async def used(
        self: "PasskeyRepository[Writes]", passkey_id: str, sign_count: int, backed_up: bool
    ) -> None:
        """Note a use, and what it says of itself."""
        values = {"sign_count": sign_count, "backed_up": backed_up, "last_used_at": NOW}
        await self.connection.execute(
            update(PasskeyRow).where(PasskeyRow.id == passkey_id).values(**values)
        )

    async def rename(
        self: "PasskeyRepository[Writes]", user_id: str, passkey_id: str, name: str
    ) -> str | None:
        """Give one of a user's another name; the old one, or None: they have none such."""
        query = select(PasskeyRow.name).where(
            PasskeyRow.id == passkey_id, PasskeyRow.user_id == user_id
        )
        old = (await self.connection.execute(query)).scalar_one_or_none()
        if old is not None:
            await self.connection.execute(
                update(PasskeyRow).where(PasskeyRow.id == passkey_id).values(name=name)
            )
        return old

    async def remove(
        self: "PasskeyRepository[Writes]", user_id: str, passkey_id: str | None = None
    ) -> list[str]:
        """Forget one of a user's, or all; the names of those that are gone."""
        statement = delete(PasskeyRow).where(PasskeyRow.user_id == user_id)
        if passkey_id is not None:
            statement = statement.where(PasskeyRow.id == passkey_id)
        gone = await self.connection.execute(statement.returning(PasskeyRow.name))
        return list(gone.scalars())

    async def expire(self: "PasskeyRepository[Writes]", retention: timedelta) -> int:
        """Delete challenges that nobody signed."""
        statement = delete(PasskeyChallengeRow).where(
            PasskeyChallengeRow.expires_at < func.now() - retention
        )
        return int((await self.connection.execute(statement)).rowcount)
