"""The audit log: who changed what, from where."""

from typing import Any

from sqlalchemy import insert

from cortex.db.base import Access, Repository, Transacts
from cortex.db.tables.audit import AuditRow


class AuditRepository(Repository[Access]):
    async def add(
        self: "AuditRepository[Transacts]",
        actor: str,
        action: str,
        subject: str,
        *,
        source: str = "",
        **data: Any,
    ) -> None:
        """Write one entry, in the transaction of the change itself. No secrets in `data`."""
        await self.connection.execute(
            insert(AuditRow).values(
                actor=actor, action=action, subject=subject, source=source, data=data
            )
        )
