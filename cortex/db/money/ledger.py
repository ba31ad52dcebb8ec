"""The ledger: append-only, one charge and one release per lease (the database insists)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Access, Repository, Row, Transacts
from cortex.db.tables.jobs import JobRow
from cortex.db.tables.money import LedgerRow
from cortex.domain.ids import new_id
from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind, LedgerEntry


class LedgerRepository(Repository[Access]):
    async def add(
        self: "LedgerRepository[Transacts]",
        lease: Lease,
        kind: EntryKind,
        amount: Money,
        *,
        note: str = "",
    ) -> bool:
        """Book one entry. False if this lease has its charge or release already."""
        return kind in await self.add_many(lease, {kind: amount}, note=note)

    async def add_many(
        self: "LedgerRepository[Transacts]",
        lease: Lease,
        entries: Mapping[EntryKind, Money],
        *,
        note: str = "",
    ) -> set[EntryKind]:
        """Book several entries; returns the kinds that were not there already."""
        rows = [
            {
                "id": new_id("led"),
                "job_id": lease.job_id,
                "lease_key": lease.key,
                "provider_id": lease.provider_id,
                "kind": kind.value,
                "amount": amount.rounded().amount,
                "currency": amount.currency,
                "usd_rate": lease.offer.usd_rate,
                "note": note,
            }
            for kind, amount in entries.items()
        ]
        statement = (
            insert(LedgerRow).values(rows).on_conflict_do_nothing().returning(LedgerRow.kind)
        )
        return {EntryKind(kind) for kind in (await self.connection.execute(statement)).scalars()}

    async def charge_late(
        self: "LedgerRepository[Transacts]",
        lease: Lease,
        cost: Money,
        usd_rate: Decimal,
        *,
        note: str,
    ) -> bool:
        """Book the bill of a lease that has none. False if it has one."""
        statement = (
            insert(LedgerRow)
            .values(
                id=new_id("led"),
                job_id=lease.job_id,
                lease_key=lease.key,
                provider_id=lease.provider_id,
                kind=EntryKind.CHARGE.value,
                amount=cost.amount,
                currency=cost.currency,
                usd_rate=usd_rate,
                note=note,
            )
            .on_conflict_do_nothing()
            .returning(LedgerRow.id)
        )
        return (await self.connection.execute(statement)).first() is not None

    async def held(self, lease: Lease) -> Money:
        """The sum of the holds of a lease."""
        query = select(func.coalesce(func.sum(LedgerRow.amount), 0)).where(
            LedgerRow.lease_key == lease.key, LedgerRow.kind == EntryKind.HOLD.value
        )
        amount = Decimal((await self.connection.execute(query)).scalar_one())
        return Money(amount=amount, currency=lease.offer.price_per_hour.currency)

    async def page(
        self,
        *,
        job_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: tuple[datetime, str] | None = None,
        projects: frozenset[str] | None = None,
        limit: int = 500,
    ) -> list[LedgerEntry]:
        """Entries, oldest first.

        Args:
            job_id: Of this job only.
            since: From this time on.
            until: Before this time.
            after: The (created_at, id) of the last one seen.
            projects: Of jobs in these only; None: in all.
            limit: At most so many.
        """
        query = select(LedgerRow.__table__)
        if projects is not None:
            mine = select(JobRow.id).where(
                JobRow.id == LedgerRow.job_id, JobRow.project.in_(projects)
            )
            query = query.where(mine.exists())
        if since is not None:
            query = query.where(LedgerRow.created_at >= since)
        if until is not None:
            query = query.where(LedgerRow.created_at < until)
        if job_id is not None:
            query = query.where(LedgerRow.job_id == job_id)
        if after is not None:
            query = query.where(tuple_(LedgerRow.created_at, LedgerRow.id) > after)
        query = query.order_by(LedgerRow.created_at, LedgerRow.id).limit(limit)
        return [entry_of(row) for row in (await self.connection.execute(query)).mappings()]

    async def of_jobs(self, job_ids: Sequence[str], *, limit: int) -> list[LedgerEntry]:
        """The first entries of each of these jobs, as many of each at most, oldest first."""
        place = func.row_number().over(
            partition_by=LedgerRow.job_id, order_by=(LedgerRow.created_at, LedgerRow.id)
        )
        every = (
            select(LedgerRow.__table__, place.label("place"))
            .where(LedgerRow.job_id.in_(job_ids))
            .subquery()
        )
        query = select(every).where(every.c.place <= limit).order_by(every.c.job_id, every.c.place)
        return [entry_of(row) for row in (await self.connection.execute(query)).mappings()]


def entry_of(row: Row) -> LedgerEntry:
    return LedgerEntry(
        id=row["id"],
        job_id=row["job_id"],
        lease_key=row["lease_key"],
        provider_id=row["provider_id"],
        kind=EntryKind(row["kind"]),
        amount=Money(amount=row["amount"], currency=row["currency"]),
        usd_rate=str(row["usd_rate"]),
        note=row["note"],
        created_at=row["created_at"],
    )
