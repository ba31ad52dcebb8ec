"""The part of the asynchronous client that is about the audit log."""

from typing import Literal

from cortex.client._routes import audit as routes
from cortex.client._routes.call import Since
from cortex.client.transport import AsyncTransport
from cortex.domain.audit import Outcome
from cortex.schemas.audit import AuditPage, AuditVerification


class AsyncAuditCalls:
    """What `AsyncCortex` can do with the audit log."""

    _transport: AsyncTransport

    async def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        outcome: Outcome | None = None,
        since: Since | None = None,
        until: Since | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> AuditPage:
        """One page of changes and denied attempts, newest first.

        Args:
            actor: Only by this one.
            action: Only this, such as `job.cancel`; `job.*`: all of jobs.
            subject: Only about this id.
            request_id: Only of the request with this correlation id.
            outcome: Only what was done, or what was denied.
            since: Entries from this time on (a time, or how long ago).
            until: Entries before this time.
            limit: At most so many.
            cursor: `next_cursor` of the page before.
        """
        wanted = routes.matching(
            actor=actor,
            action=action,
            subject=subject,
            request_id=request_id,
            outcome=outcome,
            since=since,
            until=until,
        )
        return await self._transport.call(routes.page(wanted, limit=limit, cursor=cursor))

    async def audit_export(
        self,
        form: Literal["csv", "jsonl"] = "jsonl",
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        outcome: Outcome | None = None,
        since: Since | None = None,
        until: Since | None = None,
    ) -> str:
        """The same as one text, all of it, oldest first: CSV, or JSON one entry a line."""
        wanted = routes.matching(
            actor=actor,
            action=action,
            subject=subject,
            request_id=request_id,
            outcome=outcome,
            since=since,
            until=until,
        )
        return await self._transport.call(routes.export(wanted, form))

    async def verify_audit(self, known: str | None = None) -> AuditVerification:
        """Reckon the seal of every entry anew.

        Args:
            known: `head` of an earlier verification, which must still be in the chain.
        """
        return await self._transport.call(routes.verify(known))
