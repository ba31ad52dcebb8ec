"""Ranking: one currency, weighed sides, measured records, strategies of plugins."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.providers.ranking import (
    Facts,
    PlacementStrategy,
    Ranking,
    StrategyFailed,
    built_in,
)
from cortex.domain.providers.track import TrackRecord
from cortex.domain.spec import JobSpec, Strategy
from cortex.settings import PlacementSettings

_WEIGHTS = PlacementSettings().weights
STRATEGIES = built_in(
    {
        Strategy.COST: _WEIGHTS.cost,
        Strategy.PERFORMANCE: _WEIGHTS.performance,
        Strategy.AVAILABILITY: _WEIGHTS.availability,
    }
)


def offer(
    provider_id: str, price: str, *, currency: str = "USD", rate: str = "1", **fields: Any
) -> Offer:
    return Offer(
        provider_id=provider_id,
        price_per_hour=Money(amount=Decimal(price), currency=currency),
        usd_rate=Decimal(rate),
        **fields,
    )


def job(**placement: Any) -> JobSpec:
    return JobSpec.model_validate({"command": ["x"], "placement": placement})


def ranked(
    offers: list[Offer], records: dict[str, TrackRecord] | None = None, **placement: Any
) -> list[str]:
    spec = job(**placement)
    ranking = Ranking(STRATEGIES[spec.placement.strategy], records or {})
    return [ranked.offer.provider_id for ranked in ranking.rank(offers, spec)]


class TestCost:
    def test_one_currency_for_all(self) -> None:
        offers = [
            offer("usd", "0.5"),
            offer("akt", "1", currency="AKT", rate="0.4"),
            offer("glm", "1", currency="GLM", rate="0.6"),
        ]
        assert ranked(offers) == ["akt", "usd", "glm"]

    def test_nothing_but_the_price_counts(self) -> None:
        slow = offer("slow", "0.1", performance=Decimal("0.1"), availability=Decimal("0.5"))
        assert ranked([offer("good", "0.1000001"), slow]) == ["slow", "good"]

    def test_equal_prices_go_by_wait_then_id(self) -> None:
        late = offer("a", "1", expected_wait=timedelta(minutes=1))
        assert ranked([late, offer("c", "1"), offer("b", "1")]) == ["b", "c", "a"]

    def test_what_is_free_comes_first(self) -> None:
        assert ranked([offer("a", "0.1"), offer("free", "0")]) == ["free", "a"]

    def test_the_score_is_the_share_of_the_cheapest(self) -> None:
        ranking = Ranking(STRATEGIES["cost"]).rank([offer("a", "1"), offer("b", "4")], job())
        assert [ranked_offer.score for ranked_offer in ranking] == [Decimal(1), Decimal("0.25")]
        assert ranking[1].why == "4 USD per hour"


class TestPerformance:
    def test_the_fast_one_unless_it_keeps_one_waiting(self) -> None:
        fast = offer("fast", "1", performance=Decimal(2))
        plain = offer("plain", "1")
        assert ranked([plain, fast], strategy="performance") == ["fast", "plain"]
        starts = TrackRecord(starts=20, start=timedelta(minutes=30))
        assert ranked([plain, fast], {"fast": starts}, strategy="performance") == ["plain", "fast"]

    def test_few_starts_prove_nothing(self) -> None:
        fast = offer("fast", "1", performance=Decimal(2))
        starts = TrackRecord(starts=2, start=timedelta(minutes=30))
        ranking = ranked([offer("plain", "1"), fast], {"fast": starts}, strategy="performance")
        assert ranking == ["fast", "plain"]


class TestAvailability:
    def test_lost_and_refused_leases_count_against(self) -> None:
        records = {
            "good": TrackRecord(leases=40, lost=1),
            "bad": TrackRecord(leases=40, lost=5, refused=10),
        }
        offers = [offer("bad", "1"), offer("good", "1.1")]
        assert ranked(offers, records, strategy="availability") == ["good", "bad"]
        assert ranked(offers, records) == ["bad", "good"]

    def test_one_bad_lease_does_not_condemn(self) -> None:
        record = TrackRecord(leases=1, lost=1)
        assert record.availability(Decimal(1)) == Decimal(5) / 6

    def test_health_counts(self) -> None:
        record = TrackRecord(online=Decimal("0.5"), leases=10)
        assert record.availability(Decimal(1)) == Decimal("0.5")
        assert "healthy 50% of the time, 0 of 10 leases" in record.availability_source()

    def test_a_claim_is_told_as_a_claim(self) -> None:
        assert "claims" in TrackRecord().availability_source()
        assert TrackRecord().availability(Decimal("1.7")) == 1

    def test_a_round_hundred_is_not_claimed(self) -> None:
        text = TrackRecord(online=Decimal("0.99999")).availability_source()
        assert "healthy under 100% of the time" in text


class TestWeights:
    def test_a_job_brings_its_own(self) -> None:
        offers = [offer("cheap", "1", availability=Decimal("0.6")), offer("dear", "1.3")]
        assert ranked(offers) == ["cheap", "dear"]
        weights = {"cost": 1, "availability": 2}
        assert ranked(offers, weights=weights) == ["dear", "cheap"]

    def test_all_sides_are_explained(self) -> None:
        spec = job(weights={"cost": 1, "performance": 3, "availability": 2})
        (ranked_offer,) = Ranking(STRATEGIES["cost"]).rank([offer("a", "0.25")], spec)
        assert ranked_offer.why == (
            "speed 1 with the wait counted in, availability 100.0%, 0.25 USD per hour"
        )


class Near:
    """A plugin's strategy: those of one region first."""

    name = "near"

    def score(self, offer: Offer, facts: Facts) -> Decimal:
        return Decimal(offer.region == "eu")

    def explain(self, offer: Offer, facts: Facts) -> str:
        return "near" if offer.region == "eu" else "far"


class Broken(Near):
    name = "broken"

    def score(self, offer: Offer, facts: Facts) -> Decimal:
        return Decimal("NaN")


class TestPlugins:
    def test_a_strategy_of_another_package(self) -> None:
        assert isinstance(Near(), PlacementStrategy)
        offers = [offer("us", "1", region="us"), offer("eu", "9", region="eu")]
        ranking = Ranking(Near()).rank(offers, job(strategy="near"))
        assert [(ranked_offer.offer.provider_id, ranked_offer.why) for ranked_offer in ranking] == [
            ("eu", "near"),
            ("us", "far"),
        ]

    def test_one_that_is_wrong_is_named(self) -> None:
        with pytest.raises(StrategyFailed, match="`broken` failed"):
            Ranking(Broken()).rank([offer("a", "1")], job())
