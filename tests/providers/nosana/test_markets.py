"""Which markets have room for a job, and for how much."""

from decimal import Decimal
from typing import Any

import pytest

from providers.errors import (
    NoCapacity,
    Unsuitable,
)
from simulators.nosana.state import standard_markets
from tests.providers.nosana.conftest import Sim
from tests.providers.nosana.support import job, new_key


class TestMarkets:
    async def test_offers_with_the_fee_on_top_and_both_ends_told(self, sim: Sim) -> None:
        provider = await sim.provider()
        offers = await provider.quote(job())
        assert [offer.price_per_hour.amount for offer in offers] == [
            Decimal("0.0704"),
            Decimal("0.352"),
            Decimal("1.32"),
        ]
        assert "0.064 to 0.0704 USD per hour" in offers[0].hardware
        plain = await sim.provider(fee_included=True)
        assert (await plain.quote(job()))[0].price_per_hour.amount == Decimal("0.064")
        for each in (provider, plain):
            await each.aclose()

    @pytest.mark.parametrize(
        ("gpu", "count"),
        [
            ({"model": "rtx4090"}, 1),
            ({"model": "a100"}, 1),
            ({"model": "h100"}, 0),
            ({"count": 2}, 0),
            ({"vendor": "amd"}, 0),
            ({}, 3),
        ],
    )
    async def test_gpus(self, sim: Sim, gpu: dict[str, Any], count: int) -> None:
        provider = await sim.provider()
        assert len(await provider.quote(job(resources={"gpu": gpu}))) == count
        await provider.aclose()

    async def test_only_the_markets_that_are_allowed(self, sim: Sim) -> None:
        premium = await sim.provider(market_types=("PREMIUM",))
        assert len(await premium.quote(job())) == 2
        one = await sim.provider(markets=("nvidia-4090",))
        (offer,) = await one.quote(job())
        reservation = await one.prepare(job(), new_key(), offer=offer)
        slugs = {market.address: market.slug for market in standard_markets()}
        assert slugs[reservation.ref.data["market"]] == "nvidia-4090"
        with pytest.raises(NoCapacity, match="not allowed any more"):
            await premium.prepare(
                job(), new_key(), offer=offer.model_copy(update={"data": {"market": "gone"}})
            )
        for each in (premium, one):
            await each.aclose()

    async def test_what_it_cannot_do_is_no_offer(self, sim: Sim) -> None:
        provider = await sim.provider(drop=False)
        public = await sim.provider(confidential=False)
        with_files = job(outputs=["out"])
        with_secret = job(secret_env={"TOKEN": "x"})
        taking = job(inputs=[{"from": "job_1"}])
        udp = job(kind="service", ports=[{"port": 53, "protocol": "udp"}])
        for each, spec in (
            (provider, with_files),
            (provider, taking),
            (provider, with_secret),
            (public, taking),
            (public, with_secret),
            (provider, udp),
        ):
            assert await each.quote(spec) == []
            with pytest.raises(Unsuitable):
                await each.prepare(spec, new_key())
        assert await public.quote(with_files) != []
        for each in (provider, public):
            await each.aclose()
