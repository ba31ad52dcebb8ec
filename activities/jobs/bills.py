"""What is booked for a lease: the network's bill, what it must have cost, and how it ended."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import structlog
from temporalio.exceptions import ApplicationError

from cortex.domain.failures import FailureType
from cortex.domain.leases import Lease, LeaseRef
from cortex.domain.money import Money, usd_rate_of
from cortex.domain.offers import Usage
from cortex.domain.states import RunState
from cortex.domain.units import format_duration
from providers.errors import LeaseLost
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)


async def final_usage(provider: AnyProvider, lease: Lease, ref: LeaseRef) -> Usage:
    """The network's bill, or our own reckoning where it lost the lease.

    Raises:
        ApplicationError: the bill is not final yet; to be asked for again.
        ProviderError: the network does not tell.
    """
    try:
        usage = await provider.usage(ref)
    except LeaseLost:
        return own_reckoning(lease)
    if not usage.final:
        raise ApplicationError(
            f"the final bill of {lease.key} is not there yet",
            type=FailureType.USAGE_NOT_FINAL.value,
            next_retry_delay=timedelta(seconds=5),
        )
    return usage


async def bill_rate(provider: AnyProvider, lease: Lease, currency: str) -> Decimal | None:
    """USD for one unit of the bill's currency, which need not be that of the offer.

    None if nobody knows: neither its offer nor the network's price sheet has that currency.
    """
    rate = usd_rate_of(currency, lease.offer.rates())
    if rate is None:
        sheet = await provider.pricing()
        rate = usd_rate_of(currency, {sheet.currency: sheet.usd_rate})
    if rate is None:
        _log.error("bill.no_rate", lease=lease.key, currency=currency)
    return rate


def own_reckoning(lease: Lease) -> Usage:
    """What the lease must have cost, for a network that lost it together with its bill."""
    if lease.committed_at is None:
        return nothing(lease)
    return Usage(
        cost=lease.reckoned(datetime.now(UTC)),
        final=True,
        detail={"source": "reckoned by Cortex: the network lost it"},
    )


def nothing(lease: Lease) -> Usage:
    """The bill of a lease that never came to be."""
    return Usage(cost=Money.zero(lease.offer.price_per_hour.currency), final=True)


def how_it_ended(lease: Lease) -> str:
    """For the bill: whether the network lost it or its own command failed."""
    began, ended = lease.started_at or lease.committed_at, lease.finished_at
    if began is None or ended is None:
        return ""
    after = format_duration(timedelta(seconds=max(0, round((ended - began).total_seconds()))))
    if lease.run_state == RunState.LOST:
        return f"lost by the network after {after}"
    if lease.run_state == RunState.EXITED and lease.exit_code:
        return f"its command exited with {lease.exit_code} after {after}"
    return ""
