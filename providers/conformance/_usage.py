"""What it costs: from zero, growing, and final once it has ended."""

import asyncio
import time
from decimal import Decimal

import pytest

from providers.conformance._harness import AnyProvider, Harness
from providers.errors import LeaseLost

_CENT_OF_A_CENT = Decimal("0.0000001")


class UsageChecks(Harness):
    async def test_usage_grows_and_is_final_after_cancel(self, provider: AnyProvider) -> None:
        ref = await self.running(provider, "echo ready; exec sleep 600")
        first = await provider.usage(ref)
        await asyncio.sleep(0.5)
        second = await provider.usage(ref)
        assert not first.final
        assert not second.final
        assert second.seconds >= first.seconds
        assert second.cost >= first.cost
        await provider.cancel(ref)
        last = await provider.usage(ref)
        assert last.final
        assert last.cost >= second.cost
        await asyncio.sleep(0.2)
        assert await (await self.another()).usage(ref) == last

    async def test_the_cost_is_price_times_time(self, provider: AnyProvider) -> None:
        if not self.fixed_prices:
            pytest.skip("a market makes the price here")
        began = time.monotonic()
        resources = {"cpu": 1, "memory": "128Mi"}
        ref = await self.run(provider, "sleep 1", resources=resources)
        await provider.cancel(ref)
        wall = Decimal(str(time.monotonic() - began))
        usage = await provider.usage(ref)
        assert Decimal("0.9") <= usage.seconds <= wall + 1
        spec = self.spec("sleep 1", resources=resources)
        hourly = (await provider.pricing()).hourly(spec)
        assert usage.cost.currency == hourly.currency
        expected = hourly.amount * usage.seconds / 3600
        assert abs(usage.cost.amount - expected) <= expected / 100 + _CENT_OF_A_CENT

    async def test_nothing_is_known_after_forget(self, provider: AnyProvider) -> None:
        ref = await self.run(provider, "true")
        await provider.cancel(ref)
        assert (await provider.usage(ref)).final
        await provider.forget(ref)
        if not self.forgets:  # its record stays, and the bill with it
            assert (await provider.usage(ref)).final
            return
        with pytest.raises(LeaseLost):
            await provider.usage(ref)
