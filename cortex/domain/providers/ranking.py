"""Ranks offers by strategy: the first is taken, the next ones are the fail-over.

A strategy gives each offer a number; the highest wins. The built-in ones weigh three sides of an
offer, each from 0 to 1 and relative to the other offers for the same job, so that prices in any
currency and speeds of any kind can be added up. A plugin brings a strategy of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Final, Protocol, runtime_checkable

from cortex.domain.money import format_amount
from cortex.domain.offers import Offer
from cortex.domain.providers.track import TrackRecord
from cortex.domain.spec import JobSpec, Strategy, Weights

_NOTHING: Final = TrackRecord()


@dataclass(frozen=True)
class Facts:
    """What a strategy may weigh besides the offer itself.

    Attributes:
        spec: The job; its secrets are masked.
        record: What Cortex has measured of the offer's provider.
        cheapest: The lowest price per hour of all offers for this job, in USD.
        fastest: The highest `speed` of all offers for this job.
        run: What the job is taken to run for, on a machine of speed 1.
    """

    spec: JobSpec
    record: TrackRecord = _NOTHING
    cheapest: Decimal = Decimal(0)
    fastest: Decimal = Decimal(0)
    run: timedelta = timedelta(minutes=10)

    def speed(self, offer: Offer) -> Decimal:
        """Relative speed with the wait for the start counted in: 1 is no wait on speed 1."""
        return _speed(offer, self.record, self.run)

    def availability(self, offer: Offer) -> Decimal:
        """From 0 to 1, measured where something was measured."""
        return self.record.availability(offer.availability)


@runtime_checkable
class PlacementStrategy(Protocol):
    """How offers are ranked. A plugin's `strategies` are objects of this shape.

    Both methods are called for every offer of every job: they must be quick, and know nothing but
    their arguments. One that raises, or gives no finite number, is replaced by `cost` that time.
    """

    @property
    def name(self) -> str:
        """What a job's `placement.strategy` calls it."""

    def score(self, offer: Offer, facts: Facts) -> Decimal:
        """The higher, the better; of equal ones the one that starts sooner, then the cheaper."""

    def explain(self, offer: Offer, facts: Facts) -> str:
        """Why the offer has this score, in a few words for people."""


@dataclass(frozen=True)
class Weighted:
    """A strategy that adds up price, speed and availability by their weights."""

    name: str
    weights: Weights

    def score(self, offer: Offer, facts: Facts) -> Decimal:
        weights = facts.spec.placement.weights or self.weights
        total = (
            weights.cost * _share(facts.cheapest, offer.usd_per_hour())
            + weights.performance * _share(facts.speed(offer), facts.fastest)
            + weights.availability * facts.availability(offer)
        )
        return total / weights.total()

    def explain(self, offer: Offer, facts: Facts) -> str:
        weights = facts.spec.placement.weights or self.weights
        sides = {
            "cost": (weights.cost, f"{format_amount(_short(offer.usd_per_hour()))} USD per hour"),
            "performance": (
                weights.performance,
                f"speed {format_amount(_short(facts.speed(offer)))} with the wait counted in",
            ),
            "availability": (
                weights.availability,
                f"availability {facts.availability(offer):.1%}",
            ),
        }
        heaviest = sorted(sides.values(), key=lambda side: -side[0])
        return ", ".join(words for weight, words in heaviest if weight)


@dataclass(frozen=True)
class Ranked:
    """An offer in its place."""

    offer: Offer
    score: Decimal
    why: str
    record: TrackRecord = _NOTHING


@dataclass
class Ranking:
    """What offers are ranked with, beside the job."""

    strategy: PlacementStrategy
    records: Mapping[str, TrackRecord] = field(default_factory=dict)
    run: timedelta = timedelta(minutes=10)

    def rank(self, offers: Sequence[Offer], spec: JobSpec) -> list[Ranked]:
        """The offers, best first. Equal ones: sooner, cheaper, then by their provider's id.

        Raises:
            StrategyFailed: the strategy raised, or gave no finite number.
        """
        if not offers:
            return []
        run = min(self.run, spec.duration)
        records = {offer.provider_id: self._record(offer) for offer in offers}
        facts = {
            provider_id: Facts(
                spec=spec,
                record=record,
                cheapest=min(offer.usd_per_hour() for offer in offers),
                fastest=max(
                    _speed(candidate, records[candidate.provider_id], run) for candidate in offers
                ),
                run=run,
            )
            for provider_id, record in records.items()
        }
        ranked = [self._one(offer, facts[offer.provider_id]) for offer in offers]
        return sorted(ranked, key=_order)

    def _record(self, offer: Offer) -> TrackRecord:
        return self.records.get(offer.provider_id, _NOTHING)

    def _one(self, offer: Offer, facts: Facts) -> Ranked:
        try:
            score = Decimal(self.strategy.score(offer, facts))
            why = str(self.strategy.explain(offer, facts))
        except Exception as error:  # a plugin's: whatever it is, jobs must be placed
            raise StrategyFailed(self.strategy.name, type(error).__name__) from error
        if not score.is_finite():
            raise StrategyFailed(self.strategy.name, "its score is no finite number")
        return Ranked(offer, score, why[:300], facts.record)


class StrategyFailed(Exception):
    """A strategy could not score an offer."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the strategy `{name}` failed ({why})")


def built_in(weights: Mapping[Strategy, Weights]) -> dict[str, PlacementStrategy]:
    """The strategies that are always there, by their names."""
    return {strategy.value: Weighted(strategy.value, weights[strategy]) for strategy in Strategy}


def price_objection(offer: Offer, spec: JobSpec, rates: dict[str, Decimal]) -> str | None:
    """Why the offer is above the spec's `max_price`, or None.

    `rates` gives the USD for one unit of a currency; a currency without one cannot be compared.
    """
    limit = spec.placement.max_price
    if limit is None:
        return None
    price = offer.price_per_hour
    if limit.currency == price.currency:
        over = price.amount > limit.amount
    elif limit.currency == "USD" or limit.currency in rates:
        rate = rates.get(limit.currency, Decimal(1))
        over = offer.usd_per_hour() > limit.amount * rate
    else:
        return f"its price in {price.currency} cannot be compared with {limit.currency}"
    return f"it costs {price} per hour, the limit is {limit}" if over else None


def _order(ranked: Ranked) -> tuple[Decimal, timedelta, Decimal, str]:
    offer = ranked.offer
    wait = ranked.record.wait(offer.expected_wait)
    return (-ranked.score, wait, offer.usd_per_hour(), offer.provider_id)


def _speed(offer: Offer, record: TrackRecord, run: timedelta) -> Decimal:
    seconds = Decimal(max(run // timedelta(microseconds=1), 1))
    wait = Decimal(max(record.wait(offer.expected_wait) // timedelta(microseconds=1), 0))
    performance = offer.performance if offer.performance > 0 else Decimal("0.001")
    return seconds / (seconds / performance + wait)


def _share(part: Decimal, whole: Decimal) -> Decimal:
    """`part` of `whole`, from 0 to 1; all of nothing is 1."""
    if whole <= 0:
        return Decimal(1)
    return min(max(part / whole, Decimal(0)), Decimal(1))


def _short(number: Decimal) -> Decimal:
    """Four digits that count."""
    return Decimal(f"{number:.4g}")
