"""Asks providers for offers and ranks what they say: pure reading, nothing is written."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import structlog

from activities.jobs.track import TrackRecords
from activities.runtime.fleet import Fleet
from cortex.domain.offers import Offer
from cortex.domain.providers.ranking import (
    PlacementStrategy,
    Ranked,
    Ranking,
    StrategyFailed,
    built_in,
    price_objection,
)
from cortex.domain.spec import JobSpec, Strategy
from cortex.domain.units import format_duration
from cortex.settings import PlacementSettings
from cortex.temporal.contracts import OfferStanding, ProviderAnswer, QuoteResult
from providers.errors import ProviderError
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)


class Market:
    """All providers of this worker, as one place to ask.

    Args:
        fleet: The providers.
        settings: How to rank.
        records: What was measured of them; without it only their own claims count.
        strategies: Those of plugins, by name, beside the built-in ones.
    """

    def __init__(
        self,
        fleet: Fleet,
        settings: PlacementSettings,
        records: TrackRecords | None = None,
        strategies: Mapping[str, PlacementStrategy] | None = None,
    ) -> None:
        self._fleet = fleet
        self._settings = settings
        self._records = records
        weights = settings.weights
        self._strategies = {
            **(strategies or {}),
            **built_in(
                {
                    Strategy.COST: weights.cost,
                    Strategy.PERFORMANCE: weights.performance,
                    Strategy.AVAILABILITY: weights.availability,
                }
            ),
        }

    async def quote(
        self,
        spec: JobSpec,
        timeout: timedelta,
        *,
        without: Sequence[str] = (),
        without_offers: Sequence[str] = (),
    ) -> QuoteResult:
        """Ask all allowed providers but some; answers in the time they are given.

        Args:
            spec: The job.
            timeout: How long each provider may take.
            without: Providers that are not asked.
            without_offers: Offers that are left out, by their identity.
        """
        allowed = spec.placement.providers
        asked = [
            provider_id
            for provider_id in self._fleet.ids
            if provider_id not in without and (not allowed or provider_id in allowed)
        ]
        answers = await asyncio.gather(*(self._ask(provider, spec, timeout) for provider in asked))
        return await self._ranked([_left(answer, without_offers) for answer in answers], spec)

    async def _ask(self, provider_id: str, spec: JobSpec, timeout: timedelta) -> ProviderAnswer:
        try:
            provider = await self._fleet.for_placement(provider_id)
            objections = provider.capabilities().objections(spec)
            if objections:
                return ProviderAnswer(
                    provider_id=provider_id, reasons=tuple(objections), for_good=True
                )
            async with asyncio.timeout(timeout.total_seconds()):
                return await _offers(provider, spec)
        except TimeoutError:
            why = f"it did not answer within {timeout.total_seconds():g} s"
            await self._fleet.timed_out(provider_id, why)
        except ProviderError as error:
            # Its name stands before the reason already.
            why = str(error).replace(f"provider `{provider_id}`", "it", 1)
        except Exception as error:
            _log.exception("quote.bug", provider=provider_id)
            why = f"internal error ({type(error).__name__})"
        return ProviderAnswer(provider_id=provider_id, reasons=(why,))

    async def _ranked(self, answers: Sequence[ProviderAnswer], spec: JobSpec) -> QuoteResult:
        rates: dict[str, Decimal] = {"USD": Decimal(1)}
        for answer in answers:
            for offer in answer.offers:
                rates[offer.price_per_hour.currency] = offer.usd_rate
        good, rejected = _sorted(answers, spec, rates)
        ranked, note = await self._rank(good, spec)
        return QuoteResult(
            offers=tuple(each.offer for each in ranked),
            standings=tuple(self._standing(each) for each in ranked),
            note=note,
            rejected=tuple(rejected),
            usd_rates=rates,
        )

    async def _rank(self, offers: Sequence[Offer], spec: JobSpec) -> tuple[list[Ranked], str]:
        records = await self._records.all() if self._records and offers else {}
        wanted, plain = spec.placement.strategy, self._strategies[Strategy.COST]
        note = ""
        strategy = self._strategies.get(wanted)
        if strategy is None:
            note = f"no plugin here has the strategy `{wanted}`; ranked by cost"
            strategy = plain
        try:
            return Ranking(strategy, records, self._settings.typical_run).rank(offers, spec), note
        except StrategyFailed as error:
            _log.exception("placement.strategy_failed", strategy=wanted)
            ranking = Ranking(plain, records, self._settings.typical_run)
            return ranking.rank(offers, spec), f"{error}; ranked by cost"

    def _standing(self, ranked: Ranked) -> OfferStanding:
        offer, record = ranked.offer, ranked.record
        note = _rate_note(offer, self._settings.max_rate_age)
        return OfferStanding(
            score=round(ranked.score, 6),
            why=ranked.why,
            availability=round(record.availability(offer.availability), 6),
            availability_source=record.availability_source(),
            wait=record.wait(offer.expected_wait),
            wait_source=record.wait_source(),
            notes=(*offer.notes, note) if note else offer.notes,
        )


def _left(answer: ProviderAnswer, without: Sequence[str]) -> ProviderAnswer:
    """The answer without offers that fell through already."""
    left = tuple(offer for offer in answer.offers if offer.identity not in without)
    reasons = answer.reasons if left or not answer.offers else ("its offers were tried already",)
    return answer.model_copy(update={"offers": left, "reasons": reasons})


def _sorted(
    answers: Sequence[ProviderAnswer], spec: JobSpec, rates: dict[str, Decimal]
) -> tuple[list[Offer], list[ProviderAnswer]]:
    """Offers within the price, and the providers that have none."""
    good: list[Offer] = []
    rejected: list[ProviderAnswer] = []
    for answer in answers:
        verdicts = [(offer, price_objection(offer, spec, rates)) for offer in answer.offers]
        fitting = [offer for offer, why in verdicts if why is None]
        good.extend(fitting)
        if not fitting:
            reasons = answer.reasons or tuple(why for _, why in verdicts if why)[:1]
            rejected.append(answer.model_copy(update={"offers": (), "reasons": reasons}))
    return good, rejected


async def _offers(provider: AnyProvider, spec: JobSpec) -> ProviderAnswer:
    offers = await provider.quote(spec)
    reasons = () if offers else ("it makes no offer for this job now",)
    return ProviderAnswer(provider_id=provider.id, offers=tuple(offers), reasons=reasons)


def _rate_note(offer: Offer, oldest: timedelta) -> str:
    """What is to be told of the conversion rate, if anything."""
    currency = offer.price_per_hour.currency
    if currency == "USD":
        return ""
    if offer.rate_as_of is None:
        return f"the age of the {currency} rate is not known"
    age = datetime.now(UTC) - offer.rate_as_of
    if age <= oldest:
        return ""
    whole = timedelta(seconds=int(age.total_seconds()))
    return f"the {currency} rate is {format_duration(whole)} old"
