"""Prices: what the market offers now, by a scan of our own; the network's statistics else."""

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from statistics import median
from typing import Any

import httpx

from cortex.domain.money import Money
from cortex.domain.offers import Offer, PriceSheet
from cortex.domain.spec import JobSpec
from cortex.faultpoints import http_hooks
from providers.errors import OutcomeUnknown, ProviderError, Unavailable
from providers.golem.agreements import MARKET
from providers.golem.config import GolemConfig
from providers.golem.daemon import Daemon, parse
from providers.golem.demand import SUBNET
from providers.golem.terms import Terms
from providers.golem.wire import ScanEvent

_STATISTICS = "/v2/network/pricing/1h"
_GIB = Decimal(2**30)
_MOST_OFFERS = 5
_WAIT = timedelta(seconds=30)
_HTTP_TIMEOUT = 10.0
_MICRO = Decimal("0.000000001")


@dataclass(frozen=True)
class Seen:
    """One provider's standing offer."""

    node: str
    name: str
    terms: Terms
    runtime: str
    capabilities: tuple[str, ...]
    gpu: str
    memory: Decimal
    storage: Decimal
    region: str


@dataclass(frozen=True)
class Rate:
    """USD for one GLM."""

    usd: Decimal
    as_of: datetime | None


class Market:
    """What the market looks like, not older than the configured time."""

    def __init__(self, daemon: Daemon, config: GolemConfig) -> None:
        self._daemon = daemon
        self._config = config
        self._lock = asyncio.Lock()
        self._seen: list[Seen] = []
        self._seen_at: float | None = None
        self._rate: tuple[float, Rate] | None = None

    async def sheet(self) -> PriceSheet:
        """Medians of the market. A core-hour has the price of its environment in it."""
        rate = await self.rate()
        seen = await self.seen()
        if seen:
            hour = median([offer.terms.cpu_hour for offer in seen])
            env = median([offer.terms.env_hour for offer in seen])
        else:
            told = await self._statistics()
            if told is None:
                raise Unavailable("no offer is seen on Golem's market, and no price is known")
            hour, env, _ = told
        return PriceSheet(
            currency=self._config.currency,
            cpu_hour=(hour + env).quantize(_MICRO),
            usd_rate=rate.usd,
            rate_as_of=rate.as_of,
            as_of=rate.as_of or datetime.now(UTC),
        )

    async def offers(self, provider_id: str, spec: JobSpec) -> list[Offer]:
        """Offers that fit the job, cheapest first, one for each provider of the network."""
        rate = await self.rate()
        fitting = [
            candidate for candidate in await self.seen() if _fits(candidate, spec, self._config)
        ]
        hours = _hours(spec)
        fitting.sort(key=lambda candidate: (candidate.terms.estimate(hours * 3600), candidate.node))
        made = [
            self._offer(provider_id, candidate, hours, rate) for candidate in fitting[:_MOST_OFFERS]
        ]
        if made or await self.seen():
            return made
        fallback = await self._from_statistics(provider_id, spec, rate)
        return [fallback] if fallback is not None else []

    async def seen(self) -> list[Seen]:
        """The offers of the last scan."""
        async with self._lock:
            age = time.monotonic() - self._seen_at if self._seen_at is not None else None
            if age is None or age > self._config.price_cache.total_seconds():
                self._seen = await self._scan()
                # An empty market is looked at again soon: a fresh daemon learns it slowly.
                self._seen_at = time.monotonic() if self._seen else None
            return self._seen

    async def rate(self) -> Rate:
        """USD for one GLM: from the configured source, else the configured number.

        Raises:
            Unavailable: neither is to be had.
        """
        kept = self._rate
        if not self._config.rate_url:
            return self._configured()
        if kept and time.monotonic() - kept[0] < self._config.price_cache.total_seconds():
            return kept[1]
        value: Any = await _fetched(self._config.rate_url)
        for part in self._config.rate_field.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        try:
            usd = Decimal(str(value))
        except InvalidOperation:
            usd = Decimal(0)
        if not usd.is_finite() or usd <= 0:
            # An old rate with its date is better than none.
            return kept[1] if kept else self._configured()
        rate = Rate(usd, datetime.now(UTC))
        self._rate = (time.monotonic(), rate)
        return rate

    def _configured(self) -> Rate:
        if self._config.usd_rate is None:
            raise Unavailable("the source of GLM's price (`rate_url`) does not answer")
        day = self._config.usd_rate_date
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None
        return Rate(self._config.usd_rate, moment)

    async def _scan(self) -> list[Seen]:
        seconds = self._config.scan_for.total_seconds()
        body = {
            "type": "offer",
            "timeout": max(10, int(seconds) + 5),
            "constraints": f"({SUBNET}={self._config.subnet})",
        }
        try:
            answer = await self._daemon.effect("POST", f"{MARKET}/scan", body)
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from None
        scan = parse(str, answer.body, "/scan")
        by_node: dict[str, Seen] = {}
        ends = time.monotonic() + seconds
        try:
            while (left := ends - time.monotonic()) > 0:
                events = await self._events(scan, min(left, 0.5 if by_node else 2.0))
                for event in events:
                    seen = _seen(event)
                    if seen is not None:
                        by_node[seen.node] = seen
                if by_node and not events:
                    break  # it has told all that it knows
        finally:
            await asyncio.shield(self._end_scan(scan))
        return list(by_node.values())

    async def _events(self, scan: str, wait: float) -> list[ScanEvent]:
        path = f"{MARKET}/scan/{scan}/events"
        answer = await self._daemon.read(
            path,
            params={"timeout": round(wait, 2), "maxEvents": 100},
            expect=(404, 408),
            wait=wait,
        )
        return parse(list[ScanEvent], answer.body, path) if answer.ok else []

    async def _end_scan(self, scan: str) -> None:
        try:
            await self._daemon.effect("DELETE", f"{MARKET}/scan/{scan}", expect=(404, 410))
        except ProviderError:
            return  # it ends by itself

    def _offer(self, provider_id: str, seen: Seen, hours: Decimal, rate: Rate) -> Offer:
        return Offer(
            provider_id=provider_id,
            price_per_hour=self._per_hour(seen.terms.estimate(hours * 3600), hours),
            usd_rate=rate.usd,
            rate_as_of=rate.as_of,
            region=seen.region or None,
            hardware=f"{seen.terms.threads} threads, {seen.memory:.3g} GiB ({seen.name})",
            expected_wait=_WAIT,
            data={"node": seen.node},
        )

    def _per_hour(self, estimate: Decimal, hours: Decimal) -> Money:
        """The start fee spread over the job's limit: the estimate is then the most it costs."""
        return Money(amount=(estimate / hours).quantize(_MICRO), currency=self._config.currency)

    async def _from_statistics(self, provider_id: str, spec: JobSpec, rate: Rate) -> Offer | None:
        prices = await self._statistics()
        if prices is None or spec.resources.gpu is not None:
            return None
        cpu, env, start = prices
        hours = _hours(spec)
        threads = max(Decimal(1), -(-spec.resources.cpu // 1))
        return Offer(
            provider_id=provider_id,
            price_per_hour=self._per_hour(start + (env + cpu * threads) * hours, hours),
            usd_rate=rate.usd,
            rate_as_of=rate.as_of,
            hardware="median of the network",
            expected_wait=timedelta(minutes=3),
        )

    async def _statistics(self) -> tuple[Decimal, Decimal, Decimal] | None:
        """Medians of the last hour in GLM: a core-hour, an environment-hour, a start."""
        if not self._config.stats_url:
            return None
        told = await _fetched(f"{self._config.stats_url}{_STATISTICS}")
        test = self._config.payment_platform.endswith("tglm")
        part = told.get("testnet" if test else "mainnet") if isinstance(told, dict) else None
        try:
            names = ("cpu_median", "env_median", "start_median")
            cpu, env, start = (Decimal(str(part[name])) for name in names)  # type: ignore[index]
        except (KeyError, TypeError, InvalidOperation):
            return None
        return cpu, env, start


def _seen(event: ScanEvent) -> Seen | None:
    source = event.offer or event
    properties = source.properties or {}
    terms = Terms.of(properties)
    if terms is None or not source.provider_id:
        return None
    try:
        memory = Decimal(str(properties.get("golem.inf.mem.gib", 0)))
        storage = Decimal(str(properties.get("golem.inf.storage.gib", 0)))
    except InvalidOperation:
        return None
    capabilities = properties.get("golem.runtime.capabilities")
    return Seen(
        node=source.provider_id,
        name=str(properties.get("golem.node.id.name", source.provider_id[:10])),
        terms=terms,
        runtime=str(properties.get("golem.runtime.name", "")),
        capabilities=tuple(capabilities) if isinstance(capabilities, list) else (),
        gpu=str(properties.get("golem.!exp.gap-35.v1.inf.gpu.model", "")),
        memory=memory,
        storage=storage,
        region=str(properties.get("golem.node.geo.country_code", "")),
    )


def _fits(seen: Seen, spec: JobSpec, config: GolemConfig) -> bool:
    need = spec.resources
    large = (
        seen.terms.threads >= need.cpu
        and seen.memory >= need.memory / _GIB
        and seen.storage >= need.storage / _GIB
    )
    if need.gpu is None:
        return large and seen.runtime == config.runtime
    right = not need.gpu.model or need.gpu.model.lower() in seen.gpu.lower()
    return (
        large and right and seen.runtime == config.gpu_runtime and "!exp:gpu" in seen.capabilities
    )


def _hours(spec: JobSpec) -> Decimal:
    return Decimal(str(spec.duration.total_seconds())) / 3600


async def _fetched(url: str) -> Any:
    """JSON from a public address; an empty dict where there is none to be had."""
    try:
        async with httpx.AsyncClient(
            timeout=_HTTP_TIMEOUT, follow_redirects=True, event_hooks=http_hooks("golem public")
        ) as client:
            answer = await client.get(url)
            if answer.is_success:
                return json.loads(answer.content, parse_float=Decimal)
    except (httpx.HTTPError, ValueError):
        pass
    return {}
