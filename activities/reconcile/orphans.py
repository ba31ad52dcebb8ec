"""What a network holds and no open lease stands for: found by asking it, closed by asking it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from temporalio.exceptions import ApplicationError

from activities.reconcile.late_bills import LateBills
from cortex.db.engine import Database
from cortex.domain.failures import FailureType
from cortex.domain.leases import Lease, LeaseRef
from cortex.domain.offers import Usage
from cortex.domain.reconcile import Compared, Finding, orphans, suspects
from cortex.domain.states import LeaseState
from providers.errors import LeaseLost
from providers.registry import AnyProvider

_PATIENCE = 60.0


class Orphans:
    """Of one provider, in one run."""

    def __init__(self, database: Database, provider: AnyProvider, bills: LateBills) -> None:
        self._database = database
        self._provider = provider
        self._bills = bills
        self._refs: dict[str, LeaseRef] = {}
        self.owned = 0

    async def look(self) -> Compared:
        """Compare what the network lists with the lease table.

        Raises:
            ProviderError, TimeoutError: the network does not say; nothing follows from that.
        """
        async with asyncio.timeout(_PATIENCE):
            self._refs = {ref.key: ref for ref in await self._provider.owned()}
        self.owned = len(self._refs)
        # Rows are written before the network is called: read later, they miss nothing.
        async with self._database.transaction() as tx:
            states = await tx.survey.lease_states(list(self._refs))
        keys = suspects(list(self._refs), states)
        if not keys:
            return Compared()
        async with asyncio.timeout(_PATIENCE):
            looks = await self._provider.statuses([self._refs[key] for key in keys])
        runs = {look.key: look.state for look in looks}
        return orphans(self._provider.id, keys, states, runs)

    async def close(self, finding: Finding) -> str:
        """End it at the network, and say what it has cost.

        Raises:
            ProviderError: it goes on, and is tried again in the next run.
        """
        key = finding.subject
        ref = self._refs[key]
        lease = await self._lease(key)
        if lease is not None and lease.state is not LeaseState.RELEASED:
            return "a lease stands for it"
        usage = await self._release(ref)
        booked = await self._bills.after_orphan(lease, usage) if lease and usage else ""
        await self._provider.forget(ref)
        cost = f"it has cost {usage.cost}" if usage is not None else "it tells no bill"
        return "; ".join(filter(None, (f"released at `{self._provider.id}`, {cost}", booked)))

    async def drop(self, keys: Sequence[str], grace: timedelta) -> int:
        """Let the network forget what has ended and is merely kept; how many it was."""
        done = 0
        for key in keys:
            lease = await self._lease(key)
            at = lease.released_at if lease is not None else None
            if at is None or datetime.now(UTC) - at < grace:
                continue
            await self._provider.cancel(self._refs[key])
            await self._provider.forget(self._refs[key])
            done += 1
        return done

    async def _release(self, ref: LeaseRef) -> Usage | None:
        await self._provider.cancel(ref)
        try:
            usage = await self._provider.usage(ref)
        except LeaseLost:
            return None
        if not usage.final:
            raise ApplicationError(
                f"the final bill of {ref.key} is not there yet",
                type=FailureType.USAGE_NOT_FINAL.value,
            )
        return usage

    async def _lease(self, key: str) -> Lease | None:
        async with self._database.transaction() as tx:
            return await tx.leases.find(key)
