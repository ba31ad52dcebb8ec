"""What reconcile found: one open row for each thing that should not be."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Text, delete, func, literal_column, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.sql.expression import cast

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.reconcile import ReconcileFindingRow
from cortex.domain.ids import new_id
from cortex.domain.reconcile import Finding, FindingKind, Issue

_OPEN = ReconcileFindingRow.closed_at.is_(None)
_COLUMNS = ReconcileFindingRow.__table__.columns


class FindingRepository(Repository[Access]):
    async def see(self: "FindingRepository[Transacts]", issue: Issue) -> tuple[Finding, bool]:
        """It is (still) so; whether this is the first time."""
        values = {
            "message": issue.message,
            "provider_id": issue.provider_id,
            "data": issue.data,
        }
        statement = (
            insert(ReconcileFindingRow)
            .values(id=new_id("fnd"), kind=issue.kind.value, subject=issue.subject, **values)
            .on_conflict_do_update(
                index_elements=[ReconcileFindingRow.kind, ReconcileFindingRow.subject],
                index_where=_OPEN,
                set_={**values, "last_seen_at": NOW},
            )
            .returning(*_COLUMNS, literal_column("xmax = 0").label("fresh"))
        )
        row = (await self.connection.execute(statement)).mappings().one()
        return _finding(row), bool(row["fresh"])

    async def open(
        self, kinds: Collection[FindingKind], *, provider_id: str | None = None
    ) -> list[Finding]:
        """Open findings of these kinds, oldest first; with `provider_id` of this one only."""
        query = select(*_COLUMNS).where(
            _OPEN, ReconcileFindingRow.kind.in_([kind.value for kind in kinds])
        )
        if provider_id is not None:
            query = query.where(ReconcileFindingRow.provider_id == provider_id)
        query = query.order_by(ReconcileFindingRow.first_seen_at, ReconcileFindingRow.id)
        return [_finding(row) for row in (await self.connection.execute(query)).mappings()]

    async def close(
        self: "FindingRepository[Transacts]", finding_id: str, how: str
    ) -> Finding | None:
        """It is so no longer; None if it was closed before."""
        more = cast(func.jsonb_build_object("closed", cast(how[:1000], Text)), JSONB)
        statement = (
            update(ReconcileFindingRow)
            .where(ReconcileFindingRow.id == finding_id, _OPEN)
            .values(closed_at=NOW, data=ReconcileFindingRow.data.op("||")(more))
            .returning(*_COLUMNS)
        )
        row = (await self.connection.execute(statement)).mappings().first()
        return _finding(row) if row else None

    async def expire(self: "FindingRepository[Writes]", older_than: timedelta) -> int:
        """Delete those that were closed longer ago; returns how many."""
        closed = ReconcileFindingRow.closed_at < func.now() - older_than
        gone = await self.connection.execute(delete(ReconcileFindingRow).where(closed))
        return int(gone.rowcount)

    async def page(
        self,
        *,
        open_only: bool,
        kind: FindingKind | None = None,
        provider_id: str | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[Finding]:
        """Findings, newest first; `before` is the (first_seen_at, id) of the last one seen."""
        query = select(*_COLUMNS)
        if open_only:
            query = query.where(_OPEN)
        if kind is not None:
            query = query.where(ReconcileFindingRow.kind == kind.value)
        if provider_id is not None:
            query = query.where(ReconcileFindingRow.provider_id == provider_id)
        place = tuple_(ReconcileFindingRow.first_seen_at, ReconcileFindingRow.id)
        if before is not None:
            query = query.where(place < before)
        query = query.order_by(
            ReconcileFindingRow.first_seen_at.desc(), ReconcileFindingRow.id.desc()
        ).limit(limit)
        return [_finding(row) for row in (await self.connection.execute(query)).mappings()]


def _finding(row: Row) -> Finding:
    data: dict[str, Any] = row["data"]
    return Finding(
        id=row["id"],
        kind=FindingKind(row["kind"]),
        subject=row["subject"],
        provider_id=row["provider_id"],
        message=row["message"],
        data={name: str(value) for name, value in data.items()},
        first_seen_at=row["first_seen_at"],
        last_seen_at=row["last_seen_at"],
        closed_at=row["closed_at"],
    )
