"""Before anything runs: capabilities, prices, offers, reservations."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from cortex.domain.leases import LeaseRef
from cortex.domain.states import RunState
from providers.conformance._harness import AnyProvider, Harness, texts
from providers.conformance._waiting import eventually
from providers.errors import LeaseLost


class PlacingChecks(Harness):
    async def test_capabilities_are_coherent(self, provider: AnyProvider) -> None:
        can = provider.capabilities()
        assert can.images or can.processes
        assert can.batch or can.services
        assert can.poll_interval > timedelta(0)
        assert can.max_cpu is None or can.max_cpu > 0
        assert can.max_memory is None or can.max_memory > 0
        assert all(model == model.lower() for model in can.gpu_models)
        assert can.objections(self.spec("true")) == []
        assert can == (await self.another()).capabilities()

    async def test_prices_are_a_sheet(self, provider: AnyProvider) -> None:
        sheet = await provider.pricing()
        assert sheet.currency == sheet.currency.upper()
        assert sheet.usd_rate > 0
        assert sheet.hourly(self.spec("true")).amount >= 0

    async def test_an_offer_costs_what_the_sheet_says(self, provider: AnyProvider) -> None:
        spec = self.spec("true", resources={"cpu": 1, "memory": "128Mi"})
        offers = await provider.quote(spec)
        assert offers
        assert {offer.provider_id for offer in offers} == {provider.id}
        prices = [offer.usd_per_hour() for offer in offers]
        assert prices == sorted(prices)
        if self.fixed_prices:
            assert offers[0].price_per_hour == (await provider.pricing()).hourly(spec)

    async def test_no_offer_for_a_job_that_cannot_run(self, provider: AnyProvider) -> None:
        nowhere = self.spec("true", placement={"regions": ["no-such-region"]})
        assert await provider.quote(nowhere) == []
        largest = provider.capabilities().max_cpu
        if largest is not None and largest < 1024:
            giant = self.spec("true", resources={"cpu": Decimal(1024)})
            assert await provider.quote(giant) == []

    async def test_prepare_is_idempotent(self, provider: AnyProvider) -> None:
        spec, key = self.spec("echo ran"), self.key()
        first = await provider.prepare(spec, key)
        again = await provider.prepare(spec, key)
        elsewhere = await (await self.another()).prepare(spec, key)
        assert first.ref == again.ref == elsewhere.ref
        assert await self.mine(provider) == ([key] if self.reserves else [])

    async def test_prepare_at_once_is_one_lease(self, provider: AnyProvider) -> None:
        if not self.concurrent:
            pytest.skip("this network is not asked the same thing twice at once")
        other, spec, key = await self.another(), self.spec("echo ran"), self.key()
        made = await asyncio.gather(
            *(instance.prepare(spec, key) for instance in [provider, other] * 3)
        )
        assert {reservation.ref.network_id for reservation in made} == {made[0].ref.network_id}
        assert await self.mine(provider) == ([key] if self.reserves else [])

    async def test_a_reservation_runs_nothing(self, provider: AnyProvider) -> None:
        key = self.key()
        reservation = await provider.prepare(self.spec("echo ran"), key)
        await asyncio.sleep(0.3)
        lease = await provider.find(key)
        if self.reserves:
            assert lease is not None
            assert lease.ref.network_id == reservation.ref.network_id
        else:
            assert lease is None
        if provider.capabilities().two_phase:
            assert lease is None or not lease.committed
            assert await self.lines(provider, reservation.ref) == []
            assert not (await provider.usage(reservation.ref)).cost.amount

    async def test_a_reservation_can_be_abandoned(self, provider: AnyProvider) -> None:
        key = self.key()
        reservation = await provider.prepare(self.spec("echo ran"), key)
        await provider.cancel(reservation.ref)
        usage = await provider.usage(reservation.ref)
        assert usage.final
        if provider.capabilities().two_phase:
            assert not usage.cost.amount
            if self.reserves:
                with pytest.raises(LeaseLost):
                    await provider.commit(reservation)
        await provider.forget(reservation.ref)
        if self.forgets:
            assert await provider.find(key) is None
        assert await self.mine(provider) == []

    async def test_an_unknown_key_is_not_found(self, provider: AnyProvider) -> None:
        assert await provider.find(self.key()) is None

    async def test_a_commit_without_its_reservation_fails(self, provider: AnyProvider) -> None:
        if not self.reserves:
            pytest.skip("a reservation is nothing at this network that could be gone")
        reservation = await provider.prepare(self.spec("echo ran"), self.key())
        await provider.cancel(reservation.ref)
        await provider.forget(reservation.ref)
        with pytest.raises(LeaseLost):
            await provider.commit(reservation)

    async def test_commit_is_idempotent(self, provider: AnyProvider) -> None:
        reservation = await provider.prepare(self.spec("echo ran"), self.key())
        first = await provider.commit(reservation)
        again = await provider.commit(reservation)
        elsewhere = await (await self.another()).commit(reservation)
        assert first.ref == again.ref == elsewhere.ref
        await self.ended(provider, first.ref)
        late = await (await self.another()).commit(reservation)
        await self._ran_once(provider, late.ref)

    async def test_commit_at_once_runs_once(self, provider: AnyProvider) -> None:
        if not self.concurrent:
            pytest.skip("this network is not asked the same thing twice at once")
        other = await self.another()
        reservation = await provider.prepare(self.spec("echo ran"), self.key())
        done = await asyncio.gather(
            *(instance.commit(reservation) for instance in [provider, other] * 3)
        )
        assert {committed.ref.network_id for committed in done} == {done[0].ref.network_id}
        assert await self.mine(provider) == [reservation.ref.key]
        await self._ran_once(provider, done[0].ref)

    async def test_submit_does_both(self, provider: AnyProvider) -> None:
        spec, key = self.spec("echo ran"), self.key()
        ref = (await provider.submit(spec, key)).ref
        assert (await provider.submit(spec, key)).ref == ref
        lease = await provider.find(key)
        assert lease is not None
        assert lease.committed
        await self._ran_once(provider, ref)

    async def _ran_once(self, provider: AnyProvider, ref: LeaseRef) -> None:
        snapshot = await self.ended(provider, ref)
        assert (snapshot.state, snapshot.exit_code) == (RunState.EXITED, 0)

        async def has_run() -> bool:
            return "ran" in texts(await self.lines(provider, ref))

        await eventually(has_run, timeout=self.patience, what="the log")
        assert texts(await self.lines(provider, ref)) == ["ran"]
