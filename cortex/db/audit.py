"""The audit log: entries are added in the transaction of the change, and sealed soon after it.

A trigger notes each entry in `audit_pending`, with its digest, in the same transaction; sealing
takes it from there into the chain (`migrations/versions/0035_audit_batches.py`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, text

from cortex.db.base import Access, Repository, Row, Transacts, Writes
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

_DIGEST: Final = f"sha256(convert_to({CONTENT}, 'UTF8'))"

_SEALED: Final = text(f"""
SELECT c.seq, c.audit_id, c.hash, a.id IS NOT NULL AS there, {CONTENT} AS content
FROM audit_chain c LEFT JOIN audit_log a ON a.id = c.audit_id
WHERE CAST(:after AS bigint) IS NULL OR c.seq > :after ORDER BY c.seq LIMIT :limit
""")

# By merge of the indexes; an entry is noted when it is written, and noted until it has its seal.
_UNSEALED: Final = text(f"""
SELECT COALESCE(a.id, p.audit_id) AS audit_id, a.id IS NOT NULL AS there,
    p.audit_id IS NOT NULL AS noted
FROM audit_log a LEFT JOIN audit_chain c ON c.audit_id = a.id
FULL JOIN audit_pending p ON p.audit_id = a.id
WHERE c.audit_id IS NULL
    AND (p.audit_id IS NULL OR a.id IS NULL OR p.digest <> {_DIGEST})
ORDER BY 1 LIMIT :limit
""")

_COUNTS: Final = text(f"""
SELECT
    (SELECT count(*) FROM audit_pending p JOIN audit_log a ON a.id = p.audit_id
        WHERE p.digest = {_DIGEST}
            AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = a.id)) AS waiting,
    (SELECT COALESCE(max(id), 0) - count(*) FROM audit_log) AS gaps
""")
_SEAL: Final = text("SELECT audit_seal_pending(:most)")
_ANY: Final = text("SELECT EXISTS (SELECT FROM audit_pending)")


@dataclass(frozen=True)
class Sealed:
    """A seal and the content of its entry; None if the entry is gone."""

    seq: int
    audit_id: int
    hash: bytes
    content: str | None


@dataclass(frozen=True)
class Unsealed:
    """An entry that has no seal though it should, or is not what was noted when it was written.

    Attributes:
        there: Whether it is in the log.
        noted: Whether it was noted, as all are that come by the server.
    """

    audit_id: int
    there: bool
    noted: bool


@dataclass(frozen=True)
class Counts:
    """What a verification counts.

    Attributes:
        waiting: Entries that are as they were written, and have no seal yet.
        gaps: Numbers that no entry has.
    """

    waiting: int
    gaps: int


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

    async def sealed(self, *, after: int | None, limit: int) -> list[Sealed]:
        """Seals behind this number (None: all), in their order, with what they cover."""
        rows = await self.connection.execute(_SEALED, {"after": after, "limit": limit})
        return [
            Sealed(row.seq, row.audit_id, row.hash, row.content if row.there else None)
            for row in rows
        ]

    async def unsealed(self, *, limit: int) -> list[Unsealed]:
        """Entries without a seal that are none of those which wait for theirs."""
        rows = await self.connection.execute(_UNSEALED, {"limit": limit})
        return [Unsealed(row.audit_id, row.there, row.noted) for row in rows]

    async def counts(self) -> Counts:
        """How many entries wait for their seal, and how many numbers no entry has."""
        row = (await self.connection.execute(_COUNTS)).one()
        return Counts(waiting=row.waiting, gaps=row.gaps)

    async def any_pending(self) -> bool:
        """Whether an entry waits for its seal."""
        return bool((await self.connection.execute(_ANY)).scalar_one())

    async def seal(self: "AuditRepository[Transacts]", *, most: int) -> int:
        """Seal entries that wait for it, in the order of their numbers; how many that were.

        One at a time does so: others wait until the transaction ends. What is not as it was when
        it was written gets no seal.
        """
        sealed: int = (await self.connection.execute(_SEAL, {"most": most})).scalar_one()
        return sealed

    async def head(self) -> Head:
        """The newest seal."""
        newest = text("SELECT seq, hash FROM audit_chain ORDER BY seq DESC LIMIT 1")
        row = (await self.connection.execute(newest)).first()
        return NO_ENTRY if row is None else Head(seq=row.seq, seal=row.hash.hex())


def submitter(by: Principal | None) -> dict[str, Any]:
    """The values of a statement that adds entries itself; None: it shall add none."""
    return {
        "audited": by is not None,
        "actor": by.name if by else "",
        "credential": by.credential if by else "",
        "source": by.source if by else "",
        "request_id": by.request_id if by else "",
    }


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(**row)
