"""The audit log: entries are added in the transaction of the change, and sealed when it commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, text

from cortex.db.base import Access, Repository, Row, Writes
from cortex.db.tables.audit import AuditRow
from cortex.domain.audit import NO_ENTRY, AuditEntry, Head, Outcome
from cortex.domain.rights import Principal

CONTENT: Final = """jsonb_build_array(
    a.id, (extract(epoch FROM a.created_at) * 1000000)::bigint, a.actor,
    a.credential, a.action, a.subject, a.source, a.request_id,
    a.outcome, a.data
)::text"""
"""What a seal covers. Said here once more than in the migration: who could change the function in
the database must not decide what is checked."""

_SEALED: Final = text(f"""
SELECT c.seq, c.audit_id, c.hash, a.id IS NOT NULL AS there, {CONTENT} AS content
FROM audit_chain c LEFT JOIN audit_log a ON a.id = c.audit_id
WHERE c.seq > :after ORDER BY c.seq LIMIT :limit
""")

# By merge of the two indexes; an entry and its seal are committed together.
_UNSEALED: Final = text("""
SELECT a.id FROM audit_log a LEFT JOIN audit_chain c ON c.audit_id = a.id
WHERE c.audit_id IS NULL ORDER BY a.id LIMIT :limit
""")


@dataclass(frozen=True)
class Sealed:
    """A seal and the content of its entry; None if the entry is gone."""

    seq: int
    audit_id: int
    hash: bytes
    content: str | None


@dataclass(frozen=True)
class AuditFilter:
    """Which entries; what is None does not matter. An action may end in `*`."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    request_id: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditRepository(Repository[Access]):
    async def add(
        self: "AuditRepository[Writes]",
        by: Principal,
        action: str,
        subject: str,
        *,
        outcome: Outcome = Outcome.DONE,
        **data: Any,
    ) -> None:
        """Write one entry, in the transaction of the change itself. No secrets in `data`."""
        await self.connection.execute(
            insert(AuditRow).values(
                actor=by.name,
                credential=by.credential,
                action=action,
                subject=subject,
                source=by.source,
                request_id=by.request_id,
                outcome=outcome,
                data=data,
            )
        )

    async def page(
        self,
        wanted: AuditFilter,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int,
    ) -> list[AuditEntry]:
        """Entries: those before an id, the newest first; or those after one, the oldest first."""
        query = select(AuditRow.__table__).limit(limit)
        for column, value in (
            (AuditRow.actor, wanted.actor),
            (AuditRow.subject, wanted.subject),
            (AuditRow.request_id, wanted.request_id),
            (AuditRow.outcome, wanted.outcome),
        ):
            if value is not None:
                query = query.where(column == value)
        if wanted.action is not None and wanted.action.endswith("*"):
            query = query.where(AuditRow.action.startswith(wanted.action[:-1], autoescape=True))
        elif wanted.action is not None:
            query = query.where(AuditRow.action == wanted.action)
        if wanted.since is not None:
            query = query.where(AuditRow.created_at >= wanted.since)
        if wanted.until is not None:
            query = query.where(AuditRow.created_at < wanted.until)
        if after is not None:
            query = query.where(AuditRow.id > after).order_by(AuditRow.id)
        else:
            query = query.order_by(AuditRow.id.desc())
            if before is not None:
                query = query.where(AuditRow.id < before)
        return [_entry(row) for row in (await self.connection.execute(query)).mappings()]

    async def sealed(self, *, after: int, limit: int) -> list[Sealed]:
        """Seals behind this one, in their order, with what they cover."""
        rows = await self.connection.execute(_SEALED, {"after": after, "limit": limit})
        return [
            Sealed(row.seq, row.audit_id, row.hash, row.content if row.there else None)
            for row in rows
        ]

    async def unsealed(self, *, limit: int) -> Sequence[int]:
        """Ids of entries without a seal: they did not come by the server."""
        return (await self.connection.execute(_UNSEALED, {"limit": limit})).scalars().all()

    async def head(self) -> Head:
        """The newest seal."""
        newest = text("SELECT seq, hash FROM audit_chain ORDER BY seq DESC LIMIT 1")
        row = (await self.connection.execute(newest)).first()
        return NO_ENTRY if row is None else Head(seq=row.seq, seal=row.hash.hex())


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(**row)
