"""The part of the asynchronous client that is about reconcile."""

import asyncio

from cortex.client._routes import reconcile as routes
from cortex.client.transport import AsyncTransport
from cortex.schemas.reconcile import FindingPage, ReconcileReport

ASK_EVERY = 1.0


class AsyncReconcileCalls:
    """What `AsyncCortex` can do about reconcile."""

    _transport: AsyncTransport

    async def reconcile(
        self, provider_id: str | None = None, *, dry_run: bool = False
    ) -> ReconcileReport:
        """Compare networks, books and Temporal now; the report once the run is done.

        Args:
            provider_id: Only this one's network; None: all of them, and the books.
            dry_run: Only list; nothing is written or closed.
        """
        report = await self._transport.call(routes.run(provider_id, dry_run=dry_run))
        while report.status == "running":
            await asyncio.sleep(ASK_EVERY)
            report = await self._transport.call(routes.report(report.id))
        return report

    async def findings(
        self,
        *,
        closed: bool = False,
        kind: str | None = None,
        provider: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> FindingPage:
        """What reconcile found and is not settled, newest first.

        Args:
            closed: Also what is settled.
            kind: Such as `orphan`.
            provider: Id of the provider.
            limit: At most so many.
            cursor: `next_cursor` of the page before.
        """
        return await self._transport.call(
            routes.findings(closed=closed, kind=kind, provider=provider, limit=limit, cursor=cursor)
        )
