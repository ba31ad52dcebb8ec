"""Ends a lease that its network does not confirm, because somebody decided so."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import structlog

from activities.runtime.fleet import Fleet
from cortex.domain.leases import Lease, LeaseRef
from cortex.domain.offers import Usage
from cortex.domain.trace.resolution import Resolution, ResolveAction
from providers.errors import ProviderError
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)
# The network is asked once more: perhaps it answers after all. Nobody waits for it.
_LAST_CALLS: Final = 10.0


@dataclass(frozen=True)
class LastWord:
    """What the network still said: that it let go, and its bill."""

    confirmed: bool = False
    usage: Usage | None = None


async def last_word(fleet: Fleet, lease: Lease) -> LastWord:
    """Ask the network once more to end the lease; whatever it answers is good."""
    confirmed, usage = False, None
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_CALLS):
            try:
                provider = fleet.get(lease.provider_id)
                ref = lease.ref or await _ref_of(provider, lease.key)
                if ref is None:
                    return LastWord(confirmed=True)
                await provider.cancel(ref)
                confirmed = True
                usage = await provider.usage(ref)
            except ProviderError as error:
                _log.info("settle.by_hand", lease=lease.key, network=str(error))
    return LastWord(confirmed, usage)


def bill_by_hand(
    lease: Lease, resolution: Resolution, said: LastWord, reckoned: Usage
) -> tuple[Usage, Decimal | None]:
    """What is booked, with the USD rate of its currency where the decision names one."""
    if resolution.action is ResolveAction.SETTLE and resolution.amount is not None:
        return _noted(Usage(cost=resolution.amount, final=True), "", resolution), (
            resolution.usd_rate
        )
    if said.usage is not None:
        kind = "the network's final bill" if said.usage.final else "what the network told last"
        return _noted(said.usage, kind, resolution), None
    if lease.usage is not None:
        when = f" at {lease.usage_at:%Y-%m-%d %H:%M} UTC" if lease.usage_at else ""
        usage = Usage(cost=lease.usage, final=False)
        return _noted(usage, f"what the network told last{when}", resolution), None
    return _noted(reckoned, "reckoned by Cortex", resolution), None


def _noted(usage: Usage, source: str, resolution: Resolution) -> Usage:
    note = "; ".join(filter(None, (f"settled {resolution.told()}", source)))
    return usage.model_copy(update={"detail": {"source": note}})


async def _ref_of(provider: AnyProvider, key: str) -> LeaseRef | None:
    lease = await provider.find(key)
    return lease.ref if lease else None
