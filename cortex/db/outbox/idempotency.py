"""Remembered answers to requests that carried an `Idempotency-Key`."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.outbox import IdempotencyRow
from cortex.domain.errors import IdempotencyConflict


class IdempotencyRepository(Repository[Access]):
    async def seen(
        self: "IdempotencyRepository[Transacts]",
        owner: str,
        key: str,
        fingerprint: str,
        *former: str,
    ) -> list[str] | None:
        """The job ids an earlier request with this key made; None if it is the first.

        `former` are fingerprints that earlier versions made of the same request.

        Serialises requests with the same key until the transaction ends.

        Raises:
            IdempotencyConflict: the key was used with another body.
        """
        await self.connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 1))"),
            {"name": f"{owner}\n{key}"},
        )
        query = select(IdempotencyRow.fingerprint, IdempotencyRow.job_ids).where(
            IdempotencyRow.owner == owner, IdempotencyRow.key == key
        )
        row = (await self.connection.execute(query)).first()
        if row is None:
            return None
        if row.fingerprint not in (fingerprint, *former):
            raise IdempotencyConflict(
                f"the Idempotency-Key `{key[:80]}` was used for another request; "
                "send the same body again, or choose a new key"
            )
        return list(row.job_ids)

    async def remember(
        self: "IdempotencyRepository[Transacts]",
        owner: str,
        key: str,
        *,
        fingerprint: str,
        job_ids: Sequence[str],
    ) -> None:
        await self.connection.execute(
            insert(IdempotencyRow).values(
                owner=owner, key=key, fingerprint=fingerprint, job_ids=list(job_ids)
            )
        )

    async def expire(self: "IdempotencyRepository[Writes]", older_than: timedelta) -> int:
        """Forget old keys; returns how many."""
        done = await self.connection.execute(
            delete(IdempotencyRow).where(IdempotencyRow.created_at < func.now() - older_than)
        )
        return int(done.rowcount)
