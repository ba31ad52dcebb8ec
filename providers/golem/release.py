"""The end of a lease: destroy, terminate, settle. Each step may be repeated."""

from dataclasses import dataclass, replace

from cortex.domain.leases import LeaseRef
from providers.errors import Unavailable
from providers.golem.activities import Activities
from providers.golem.agreements import Agreements, End, expired
from providers.golem.payments import Payments
from providers.golem.snapshots import Snapshots
from providers.golem.wire import Agreement


@dataclass(frozen=True)
class Releaser:
    """Ends leases. The caller holds the lease's lock."""

    agreements: Agreements
    activities: Activities
    payments: Payments
    snapshots: Snapshots

    async def release(self, ref: LeaseRef) -> None:
        """End it and its costs, and pay what is owed.

        Raises:
            Unavailable: that is not certain yet; to be called again.
        """
        agreement = await self.agreements.get(ref.network_id)
        if agreement is None:
            return
        if agreement.state in ("Proposal", "Pending"):
            await self.agreements.withdraw(agreement.agreement_id)
            agreement = await self.agreements.get(ref.network_id) or agreement
            if agreement.state == "Pending":
                raise Unavailable("the agreement could not be withdrawn yet")
        if agreement.state == "Approved":
            await self._end(ref, agreement, await self.snapshots.end(ref, agreement))
        await self.payments.settle(agreement)

    async def break_off(self, ref: LeaseRef, agreement: Agreement, why: str) -> None:
        """End it because of what it costs; its bills are settled when it is released."""
        end = await self.snapshots.end(ref, agreement)
        if end.exit_code is None:
            end = replace(end, message=why)
        await self._end(ref, agreement, end)

    async def _end(self, ref: LeaseRef, agreement: Agreement, end: End) -> None:
        try:
            for activity_id in await self.activities.of(agreement.agreement_id):
                await self.activities.destroy(activity_id)
            await self.agreements.terminate(agreement.agreement_id, end.reason())
        except Unavailable:
            # A provider that cannot be reached ends the work by itself when the agreement expires,
            # and is paid nothing that is not accepted: then there is nothing left to release.
            if not expired(agreement):
                raise
