"""Second factors: secrets of apps under the key ring, and hashes of recovery codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.passkeys import PasskeyRow
from cortex.db.tables.second_factors import RecoveryCodeRow, TotpSeedRow
from cortex.domain.second_factor import SecondFactorState


@dataclass(frozen=True)
class StoredSeed:
    """The secret of an app; without `confirmed_at` it is not asked for yet.

    Attributes:
        last_step: The last time step whose code was used.
    """

    sealed: bytes
    confirmed_at: datetime | None
    last_step: int


class SecondFactorRepository(Repository[Access]):
    async def seed(self, user_id: str, *, lock: bool = False) -> StoredSeed | None:
        """The secret of a user's app, if there is one."""
        query = select(TotpSeedRow.sealed, TotpSeedRow.confirmed_at, TotpSeedRow.last_step).where(
            TotpSeedRow.id == user_id
        )
        if lock:
            query = query.with_for_update()
        row = (await self.connection.execute(query)).first()
        return None if row is None else StoredSeed(bytes(row[0]), row[1], row[2])

    async def state(self, user_id: str) -> SecondFactorState:
        """Whether there is one."""
        seed = await self.seed(user_id)
        query = select(func.count()).where(
            RecoveryCodeRow.user_id == user_id, RecoveryCodeRow.used_at.is_(None)
        )
        left = (await self.connection.execute(query)).scalar_one()
        confirmed = seed.confirmed_at if seed is not None else None
        own = select(func.count()).where(PasskeyRow.user_id == user_id)
        passkeys = (await self.connection.execute(own)).scalar_one()
        return SecondFactorState(
            confirmed_at=confirmed, recovery_codes_left=int(left), passkeys=int(passkeys)
        )

    async def enrol(self: "SecondFactorRepository[Writes]", user_id: str, sealed: bytes) -> bool:
        """Put a secret there that is to be confirmed; False if there is one that was."""
        statement = upsert(TotpSeedRow).values(id=user_id, sealed=sealed)
        changed = statement.on_conflict_do_update(
            index_elements=["id"],
            set_={"sealed": sealed, "created_at": NOW, "last_step": 0},
            where=TotpSeedRow.confirmed_at.is_(None),
        ).returning(TotpSeedRow.id)
        return (await self.connection.execute(changed)).first() is not None

    async def confirm(
        self: "SecondFactorRepository[Transacts]", user_id: str, step: int, hashes: Sequence[str]
    ) -> None:
        """From now on it is asked for; with new recovery codes."""
        await self.connection.execute(
            update(TotpSeedRow)
            .where(TotpSeedRow.id == user_id)
            .values(confirmed_at=NOW, last_step=step)
        )
        await self.renew_recovery_codes(user_id, hashes)

    async def renew_recovery_codes(
        self: "SecondFactorRepository[Transacts]", user_id: str, hashes: Sequence[str]
    ) -> None:
        """These, and no others any more."""
        await self.connection.execute(
            delete(RecoveryCodeRow).where(RecoveryCodeRow.user_id == user_id)
        )
        if hashes:
            await self.connection.execute(
                insert(RecoveryCodeRow), [{"user_id": user_id, "hash": hash} for hash in hashes]
            )

    async def use_step(self: "SecondFactorRepository[Writes]", user_id: str, step: int) -> bool:
        """Note the use of a time step; False if it, or a later one, was used before."""
        statement = (
            update(TotpSeedRow)
            .where(TotpSeedRow.id == user_id, TotpSeedRow.last_step < step)
            .values(last_step=step)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def use_recovery_code(
        self: "SecondFactorRepository[Writes]", user_id: str, hash: str
    ) -> bool:
        """Note the use of a recovery code; False if there is none such, or it was used before."""
        statement = (
            update(RecoveryCodeRow)
            .where(
                RecoveryCodeRow.user_id == user_id,
                RecoveryCodeRow.hash == hash,
                RecoveryCodeRow.used_at.is_(None),
            )
            .values(used_at=NOW)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def remove(self: "SecondFactorRepository[Transacts]", user_id: str) -> bool:
        """Forget the secret of the app; False if there was none."""
        gone = await self.connection.execute(delete(TotpSeedRow).where(TotpSeedRow.id == user_id))
        return bool(gone.rowcount)
