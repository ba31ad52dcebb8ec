"""Asking and ranking: every provider is heard, nobody is waited for, and the rest is told why."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from activities.jobs.market import Market
from activities.runtime.fleet import Fleet
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer
from cortex.domain.providers.ranking import Facts, PlacementStrategy
from cortex.domain.spec import JobSpec
from cortex.settings import PlacementSettings
from cortex.temporal.contracts import QuoteResult
from providers.errors import AuthenticationFailed, Unavailable
from providers.null import NullConfig, NullProvider
from providers.registry import AnyProvider

_SECOND = timedelta(seconds=1)


class Network(NullProvider):
    """Makes one offer, or raises, or hangs."""

    def __init__(self, provider_id: str, answer: Offer | Exception | None) -> None:
        super().__init__(provider_id, NullConfig())
        self._answer = answer
        self.can: Capabilities | None = None

    def capabilities(self) -> Capabilities:
        return self.can or super().capabilities()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        if self._answer is None:
            await asyncio.sleep(60)
        if isinstance(self._answer, Exception):
            raise self._answer
        return [self._answer] if self._answer else []


class Networks(Fleet):
    """These networks, all open but those that are `away`."""

    def __init__(self, *networks: Network, away: str = "") -> None:
        self._networks = {network.id: network for network in networks}
        self._away = away

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._networks)

    def get(self, provider_id: str) -> AnyProvider:
        if provider_id == self._away:
            raise Unavailable("it cannot be used now: the key is wrong")
        return self._networks[provider_id]

    async def for_placement(self, provider_id: str) -> AnyProvider:
        return self.get(provider_id)

    async def timed_out(self, provider_id: str, why: str) -> None:
        self.impatient = [*getattr(self, "impatient", []), provider_id]


def network(provider_id: str, price: str = "1", currency: str = "USD", **fields: Any) -> Network:
    money = Money(amount=Decimal(price), currency=currency)
    return Network(provider_id, Offer(provider_id=provider_id, price_per_hour=money, **fields))


async def ask(
    *networks: Network, away: str = "", strategies: Any = None, **placement: Any
) -> QuoteResult:
    spec = JobSpec.model_validate({"command": ["x"], "placement": placement})
    market = Market(Networks(*networks, away=away), PlacementSettings(), strategies=strategies)
    return await market.quote(spec, _SECOND)


class TestAsking:
    async def test_who_does_not_offer_says_why(self) -> None:
        result = await ask(
            network("good"),
            network("dear", "9"),
            Network("hangs", None),
            Network("refuses", AuthenticationFailed("the API key is refused")),
            Network("broken", RuntimeError("a secret")),
            network("away"),
            away="away",
            max_price="2 USD",
        )
        assert [offer.provider_id for offer in result.offers] == ["good"]
        assert {rejection.provider_id: rejection.reasons for rejection in result.rejected} == {
            "dear": ("it costs 9 USD per hour, the limit is 2 USD",),
            "hangs": ("it did not answer within 1 s",),
            "refuses": ("the API key is refused",),
            "broken": ("internal error (RuntimeError)",),
            "away": ("it cannot be used now: the key is wrong",),
        }

    async def test_what_only_the_spec_refuses_is_said_to_be_for_good(self) -> None:
        demanding = network("demanding")
        demanding.can = Capabilities(images=True, processes=False)
        result = await ask(network("dear", "9"), demanding, max_price="2 USD")
        assert {rejection.provider_id: rejection.for_good for rejection in result.rejected} == {
            "dear": False,
            "demanding": True,
        }


class TestRates:
    @pytest.mark.parametrize(
        ("age", "note"),
        [
            (timedelta(minutes=5), ()),
            (timedelta(hours=26), ("the AKT rate is 1d2h old",)),
            (None, ("the age of the AKT rate is not known",)),
        ],
    )
    async def test_an_old_rate_is_told(self, age: timedelta | None, note: tuple[str, ...]) -> None:
        as_of = None if age is None else datetime.now(UTC) - age
        result = await ask(
            network("usd", "0.5"),
            network("akt", "1", "AKT", usd_rate=Decimal("0.4"), rate_as_of=as_of),
        )
        assert [offer.provider_id for offer in result.offers] == ["akt", "usd"]
        assert [standing.notes for standing in result.standings] == [note, ()]


class Alphabetical:
    """A plugin's strategy."""

    name = "alphabetical"

    def score(self, offer: Offer, facts: Facts) -> Decimal:
        return Decimal(-ord(offer.provider_id[0]))

    def explain(self, offer: Offer, facts: Facts) -> str:
        return f"begins with {offer.provider_id[0]}"


class Raising(Alphabetical):
    name = "raising"

    def score(self, offer: Offer, facts: Facts) -> Decimal:
        raise KeyError("region")


class TestStrategies:
    async def asked(self, strategy: str, *known: PlacementStrategy) -> QuoteResult:
        strategies = {provider.name: provider for provider in known}
        offers = (network("b", "1"), network("a", "2"))
        return await ask(*offers, strategies=strategies, strategy=strategy)

    async def test_a_plugin_ranks(self) -> None:
        result = await self.asked("alphabetical", Alphabetical())
        assert [offer.provider_id for offer in result.offers] == ["a", "b"]
        assert result.standings[0].why == "begins with a"
        assert result.note == ""

    async def test_one_that_raises_costs_no_job_its_place(self) -> None:
        result = await self.asked("raising", Raising())
        assert [offer.provider_id for offer in result.offers] == ["b", "a"]
        assert result.note == "the strategy `raising` failed (KeyError); ranked by cost"

    async def test_one_that_is_gone(self) -> None:
        result = await self.asked("near")
        assert [offer.provider_id for offer in result.offers] == ["b", "a"]
        assert result.note == "no plugin here has the strategy `near`; ranked by cost"

    async def test_a_plugin_cannot_take_a_built_in_name(self) -> None:
        taken = Alphabetical()
        taken.name = "cost"
        result = await self.asked("cost", taken)
        assert [offer.provider_id for offer in result.offers] == ["b", "a"]
