"""Looking at a provider now: what its network holds, which code it is, which calls it made."""

import asyncio

from temporalio import activity

from activities.runtime.counted_provider import CountedProvider
from activities.runtime.fleet import Fleet
from cortex.db.engine import Database
from cortex.domain.leases import LeaseRef
from cortex.domain.providers.inspection import HeldLease, Inspection
from cortex.temporal.contracts import InspectInput
from providers.calls import WORKER
from providers.registry import adapter_of

_PATIENCE = 45.0
_MOST_LEASES = 500
_MOST_CALLS = 400


class InspectActivities:
    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._fleet = fleet

    @activity.defn
    async def inspect_provider(self, inquiry: InspectInput) -> Inspection:
        """Ask the network what it holds. Nothing is changed there or here.

        Raises:
            ProviderError: it does not say.
        """
        provider = self._fleet.open(inquiry.provider_id)
        leases: list[HeldLease] = []
        refs: list[LeaseRef] = []
        if inquiry.leases:
            async with asyncio.timeout(_PATIENCE):
                refs = await provider.owned()
                leases = await self._held(provider, refs[:_MOST_LEASES])
        calls = provider.tallies(after=inquiry.after, keys=inquiry.keys)
        return Inspection(
            provider_id=inquiry.provider_id,
            adapter=adapter_of(provider.inner),
            trial=provider.trial(),
            worker=WORKER,
            recording_since=provider.book.since,
            leases=tuple(leases),
            more_leases=max(0, len(refs) - _MOST_LEASES),
            calls=tuple(calls[-_MOST_CALLS:]),
        )

    async def _held(self, provider: CountedProvider, refs: list[LeaseRef]) -> list[HeldLease]:
        if not refs:
            return []
        looks = {look.key: look for look in await provider.statuses(refs)}
        async with self._database.reading() as tx:
            states = await tx.survey.lease_states([ref.key for ref in refs])
        return [
            HeldLease(
                key=ref.key,
                run_state=look.state if look else None,
                message=provider.scrub(look.message) if look else "",
                lease_state=states.get(ref.key),
            )
            for ref in refs
            for look in (looks.get(ref.key),)
        ]
