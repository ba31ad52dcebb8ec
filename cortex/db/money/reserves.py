"""What is set aside for accepted jobs that have no lease: one row a job, in USD.

The hold of a lease takes the place of the reserve; when the lease is billed and the job goes on,
what is left of the hold is the reserve again. A trigger releases it when the job ends.
"""

from decimal import Decimal

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Access, Repository, Transacts
from cortex.db.tables.money import JobReserveRow


class ReserveRepository(Repository[Access]):
    async def of(self, job_id: str) -> Decimal | None:
        """What is set aside now; None if nothing ever was, or the job has ended."""
        query = select(JobReserveRow.usd).where(
            JobReserveRow.job_id == job_id, JobReserveRow.released_at.is_(None)
        )
        return (await self.connection.execute(query)).scalar_one_or_none()

    async def put(self: "ReserveRepository[Transacts]", job_id: str, usd: Decimal) -> None:
        """Set aside this much, whatever it was before; what was released stays so."""
        statement = insert(JobReserveRow).values(job_id=job_id, usd=usd)
        await self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["job_id"],
                set_={"usd": usd},
                where=JobReserveRow.released_at.is_(None),
            )
        )

    async def used(self: "ReserveRepository[Transacts]", job_id: str) -> None:
        """A hold has taken its place."""
        await self.connection.execute(
            update(JobReserveRow)
            .where(JobReserveRow.job_id == job_id, JobReserveRow.released_at.is_(None))
            .values(usd=Decimal(0))
        )
