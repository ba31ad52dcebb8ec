"""What an activity has used: the counters by which its provider bills.

There is one about a machine, `golem.usage.cpu_sec`, and only where the `golem.com.usage.vector` of
the offer names it. Memory, disk and network are not told. A provider measures at times of its own,
which it tells with the counters.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from cortex.domain.leases import LeaseRef
from cortex.domain.metrics import Sample
from providers.golem.activities import Activities
from providers.golem.agreements import Agreements, terms_of
from providers.golem.terms import CPU


@dataclass(frozen=True)
class Metrics:
    """Reads the counters of leases."""

    agreements: Agreements
    activities: Activities

    async def of(self, ref: LeaseRef) -> Sample | None:
        """Of one lease; None where it does not run, or its provider has told nothing yet."""
        agreement = await self.agreements.get(ref.network_id)
        if agreement is None or agreement.state != "Approved":
            return None
        terms = terms_of(agreement)
        there = await self.activities.of(agreement.agreement_id)
        if CPU not in terms.vector or not there:
            return None
        usage = await self.activities.usage(there[-1])
        if usage is None or not usage.current_usage:
            return None
        return Sample(
            key=ref.key,
            cpu_seconds=float(terms.counted(usage.current_usage, CPU)),
            measured_at=_moment(usage.timestamp),
        )


def _moment(timestamp: int) -> datetime | None:
    """Seconds since 1970, as a provider says them; None for what is no time."""
    try:
        return datetime.fromtimestamp(timestamp, UTC) if timestamp > 0 else None
    except (OverflowError, ValueError, OSError):
        return None
