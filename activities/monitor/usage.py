"""What running leases have cost so far: asked seldom, a few at once.

The answers are for people, forecasts and budgets; the bill is the network's, at the end (`settle`).
Where a network does not answer, or has more leases than it can be asked of, price times time is
written down and marked as an estimate.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from cortex.db.engine import Database
from cortex.db.jobs.leases import UsageNow
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.leases import Lease
from cortex.domain.money import usd_rate_of
from cortex.tasks import end_task
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)
_AT_ONCE: Final = 4
_PATIENCE: Final = 20.0
_MOST: Final = 200
"""Leases that one round asks for; the rest waits its turn with an estimate."""
_GIVE_UP: Final = 3
"""After so many failures in a row the rest of the round is not asked."""


class Meter:
    """Keeps the cost so far of one provider's leases, beside the monitor's passes."""

    def __init__(self, database: Database, every: timedelta) -> None:
        self._database = database
        self._every = every
        self._round: asyncio.Task[None] | None = None

    def tick(self, provider: AnyProvider, live: Sequence[Lease]) -> None:
        """Begin a round if some are due, and none is under way."""
        if self._round is not None and not self._round.done():
            return
        due = self._due(live)
        if due:
            self._round = asyncio.create_task(self._ask_all(provider, due))

    async def aclose(self) -> None:
        """End the round that is under way."""
        if self._round is not None:
            await end_task(self._round)

    def _due(self, live: Sequence[Lease]) -> list[Lease]:
        """Those that were not asked for long, the longest first. Short and free ones never are."""
        before = datetime.now(UTC) - self._every
        known = ((lease.usage_at or lease.committed_at, lease) for lease in live)
        due = [
            (at, lease)
            for at, lease in known
            if at is not None and at <= before and lease.offer.price_per_hour.amount > 0
        ]
        return [lease for _, lease in sorted(due, key=lambda pair: pair[0])]

    async def _ask_all(self, provider: AnyProvider, due: Sequence[Lease]) -> None:
        slots, failures = asyncio.Semaphore(_AT_ONCE), 0

        async def one(number: int, lease: Lease) -> UsageNow:
            nonlocal failures
            async with slots:
                if number >= _MOST or failures >= _GIVE_UP:
                    return reckoned(lease)
                try:
                    usage = await _told(provider, lease)
                except Exception as error:  # whatever it is, it must not end the watching
                    failures += 1
                    _log.info("usage.not_told", lease=lease.key, error=str(error)[:300])
                    return reckoned(lease)
                failures = 0
                return usage

        usages = await asyncio.gather(*(one(number, lease) for number, lease in enumerate(due)))
        with contextlib.suppress(DatabaseUnavailable):
            async with self._database.statement() as tx:
                await tx.leases.put_usage(usages)


async def _told(provider: AnyProvider, lease: Lease) -> UsageNow:
    if lease.ref is None:
        return reckoned(lease)
    async with asyncio.timeout(_PATIENCE):
        usage = await provider.usage(lease.ref)
    rate = usd_rate_of(usage.cost.currency, lease.offer.rates())
    if rate is None:
        return reckoned(lease)
    cost = usage.cost.billed()
    return UsageNow(lease.key, cost, cost.in_usd(rate), estimated=False)


def reckoned(lease: Lease) -> UsageNow:
    """Price times time."""
    cost = lease.reckoned(datetime.now(UTC))
    return UsageNow(lease.key, cost, cost.in_usd(lease.offer.usd_rate), estimated=True)
