"""The tables of the audit log: its entries, and the chain that seals them.

Both are only added to: triggers refuse everything else, note each entry that is to be sealed, and
let only the next seal into the chain (`migrations/versions/0016_audit_chain.py`,
`0035_audit_batches.py`, `0039_audit_links.py`).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class AuditRow(Base):
    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    actor: Mapped[str]
    credential: Mapped[str] = mapped_column(server_default="")
    action: Mapped[str]
    subject: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="")
    request_id: Mapped[str] = mapped_column(server_default="")
    outcome: Mapped[str] = mapped_column(server_default="done")
    data: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        Index("audit_subject", "subject", "id"),
        Index("audit_actor", "actor", "id"),
        # An entry that breaks one could not be read.
        CheckConstraint("outcome IN ('done', 'denied')", name="audit_log_outcome"),
        CheckConstraint("jsonb_typeof(data) = 'object'", name="audit_log_data"),
        CheckConstraint(
            "created_at >= '0002-01-01Z' AND created_at < '9999-01-01Z'",
            name="audit_log_created_at",
        ),
    )


class AuditPendingRow(Base):
    """An entry that has no seal yet, with the digest of what was written; by a trigger.

    No foreign key: it stays when the entry is removed, and tells of it.
    """

    __tablename__ = "audit_pending"

    audit_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes]


class AuditSealRow(Base):
    """`hash` covers the entry and the hash before; `seq` has no gaps."""

    __tablename__ = "audit_chain"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    audit_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("audit_log.id"), unique=True)
    hash: Mapped[bytes]
