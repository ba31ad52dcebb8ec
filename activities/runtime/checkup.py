"""Checks of providers: the one place that says how a provider is, and tells what changed."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import structlog

from activities.runtime.breaker import Breakers
from cortex.db.engine import Database, Transaction
from cortex.db.providers.repository import Observation, Observed, Origin
from cortex.domain.errors import CortexError
from cortex.domain.events import EventType
from cortex.domain.offers import PriceSheet
from cortex.domain.providers.health import CheckGrade, HealthRules, ProviderStatus
from cortex.domain.units import format_duration
from providers.base import NetworkStatus
from providers.errors import ProviderError
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)


class Checkup:
    """Asks a provider how it is, and writes it down."""

    def __init__(self, database: Database, breakers: Breakers, rules: HealthRules) -> None:
        self._database = database
        self._breakers = breakers
        self._rules = rules

    async def check(
        self, provider: AnyProvider, *, origin: Origin | None = None, first: bool = False
    ) -> ProviderStatus:
        """Ask for reachability, prices, balance; the status that follows.

        Args:
            provider: One that is open.
            origin: What it was built from: if that has changed, nothing is written.
            first: It was opened just now: what it says counts at once.
        """
        await self._breakers.probe(provider.id)
        observation = replace(await self._ask(provider), origin=origin)
        return await self.note(provider.id, observation, first=first)

    async def note(
        self, provider_id: str, observation: Observation, *, first: bool = False
    ) -> ProviderStatus:
        """Write down what was found, with the events of what changed by it."""
        async with self._database.transaction() as tx:
            observed = await tx.providers.observe(
                provider_id, observation, self._rules, first=first
            )
            if observed is None:
                return "offline"
            await _tell(tx, provider_id, observation, observed)
        return observed.after

    async def _ask(self, provider: AnyProvider) -> Observation:
        limit = self._rules.timeout
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit.total_seconds()):
                network = await provider.network_status()
                took = timedelta(seconds=time.monotonic() - began)
                prices, trouble = await _prices(provider)
        except TimeoutError:
            why = f"it did not answer within {format_duration(limit)}"
            await self._breakers.failed(provider.id, why)
            return Observation("bad", why)
        except (ProviderError, CortexError) as error:
            return Observation("bad", str(error))
        except Exception as error:
            _log.exception("provider.bug", provider=provider.id)
            return Observation("bad", f"internal error ({type(error).__name__})")
        verdict, message = self._judge(network, network.latency or took, trouble)
        return Observation(
            verdict,
            message,
            latency=network.latency or took,
            network_version=network.version,
            balance=network.balance,
            capabilities=provider.capabilities(),
            prices=prices,
        )

    def _judge(
        self, network: NetworkStatus, latency: timedelta, trouble: str
    ) -> tuple[CheckGrade, str]:
        if not network.reachable:
            return "bad", network.message or "the network cannot be reached"
        if latency > self._rules.slow:
            slow = f"it took {latency.total_seconds():.1f} s to answer"
            return "slow", "; ".join(filter(None, (slow, trouble, network.message)))
        if trouble:
            return "slow", trouble
        return "good", network.message


async def _prices(provider: AnyProvider) -> tuple[PriceSheet | None, str]:
    try:
        return await provider.pricing(), ""
    except ProviderError as error:
        return None, f"it tells no prices: {error}"


async def _tell(
    tx: Transaction, provider_id: str, observation: Observation, seen: Observed
) -> None:
    if seen.before != seen.after:
        data = {"status": seen.after, "was": seen.before, "message": observation.message[:1000]}
        await tx.events.add(EventType.PROVIDER_STATUS_CHANGED, provider_id, data=data)
    if seen.new_prices is not None and seen.old_prices is not None:
        sheets = {
            "old": seen.old_prices.model_dump(mode="json"),
            "new": seen.new_prices.model_dump(mode="json"),
        }
        await tx.events.add(EventType.PROVIDER_PRICING_CHANGED, provider_id, data=sheets)
