"""A network on a bad day: every answer late, lost, refused or damaged, at every call.

Needs a simulator with the control routes of `simulators.kit` (`Harness.sim_url`). A job is
brought to its lease as Cortex's own steps do it: what is unknown is looked for, never repeated
blindly. The network's own books tell afterwards whether one lease became of it.

Each call meets one fault, the next call the next kind; `CORTEX_CONFORMANCE_FAULTS=6` tries all
kinds at every call.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest

from cortex.domain.leases import LeaseRef
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance._harness import AnyProvider, Harness
from providers.conformance._waiting import T, eventually
from providers.errors import LeaseLost, OutcomeUnknown, ProviderError, RateLimited, Unavailable

_EFFECTS = ("error_before", "error_after", "drop_before", "drop_after", "malformed", "rate_limit")
_PASSING = (Unavailable, OutcomeUnknown, RateLimited)
_TRIES = 12


class FaultChecks(Harness):
    @pytest.mark.parametrize("fault", [*_EFFECTS, "stale"])
    async def test_reading_on_a_bad_day(self, provider: AnyProvider, fault: str) -> None:
        """An error is an error: never "it is gone", never an exception of some library."""
        self._sim()
        ref = await self.running(provider, "echo ready; exec sleep 600")
        reads: dict[str, Callable[[], Awaitable[Any]]] = {
            "find": lambda: provider.find(ref.key),
            "statuses": lambda: provider.statuses([ref]),
            "usage": lambda: provider.usage(ref),
            "owned": provider.owned,
            "pricing": provider.pricing,
            "quote": lambda: provider.quote(self.spec("true")),
            "logs": lambda: self.lines(provider, ref),
            "network_status": provider.network_status,
        }
        for name, read in reads.items():
            await self.faults({"match": "* *", "fault": fault, "retry_after": 0.2})
            try:
                answer = await asyncio.wait_for(read(), self.patience)
            except _PASSING:
                continue
            finally:
                await self.faults()
            if fault == "stale":  # an old list is true of its time
                continue
            assert answer is not None, name
            if name == "statuses":
                assert all(snapshot.state is RunState.RUNNING for snapshot in answer), name
        assert (await provider.status(ref)).state is RunState.RUNNING

    async def test_leasing_on_a_bad_day(self, provider: AnyProvider) -> None:
        """Whatever call goes wrong in whatever way, one lease becomes of it, or none."""
        calls = await self._calls_of(lambda: self.start(provider, "exec sleep 600"))
        for place, call in enumerate(calls):
            for fault in _spread(place):
                key = self.key()
                rule = {"match": "* *", "fault": fault, "skip": place, "retry_after": 0.2}
                await self.faults(rule)
                try:
                    ref = await self._lease(provider, self.spec("exec sleep 600"), key)
                finally:
                    await self.faults()
                alive = await self._alive(key)
                assert len(alive) <= 1, f"{fault} at {call} left {alive}"
                if ref is not None:
                    assert (await self.persist(partial(provider.status, ref))).key == key
                    await self.persist(partial(provider.cancel, ref))
                await self._nothing_left(key, f"{fault} at {call}")

    async def test_cancelling_on_a_bad_day(self, provider: AnyProvider) -> None:
        """Cancel succeeds only when the network has confirmed it."""
        first = await self.running(provider, "echo ready; exec sleep 600")
        calls = await self._calls_of(lambda: provider.cancel(first))
        for place, call in enumerate(calls):
            for fault in _spread(place):
                ref = await self.running(provider, "echo ready; exec sleep 600")
                rule = {"match": "* *", "fault": fault, "skip": place, "retry_after": 0.2}
                await self.faults(rule)
                try:
                    await self.persist(partial(provider.cancel, ref))
                finally:
                    await self.faults()
                assert await self._alive(ref.key) == [], f"{fault} at {call}"
                usage = await self.persist(partial(provider.usage, ref))
                assert usage.final

    async def test_a_network_that_is_away_for_a_while(self, provider: AnyProvider) -> None:
        self._sim()
        ref = await self.running(provider, "echo ready; exec sleep 600")
        await self.faults({"match": "* *", "fault": "error_before", "times": 1000})
        try:
            with pytest.raises(_PASSING):
                await provider.status(ref)
            with pytest.raises(_PASSING):
                await provider.cancel(ref)
            assert not (await provider.network_status()).reachable
        finally:
            await self.faults()
        assert (await provider.network_status()).reachable
        assert (await provider.status(ref)).state is RunState.RUNNING

    async def test_the_bill_is_the_networks_own(self, provider: AnyProvider) -> None:
        self._sim()
        ref = await self.run(provider, "sleep 0.5; exit 3")
        await provider.cancel(ref)
        usage = await provider.usage(ref)
        assert usage.final
        bills = [bill for bill in await self._control("bill") if bill["key"] == ref.key]
        assert bills
        assert all(bill["final"] for bill in bills)
        assert {bill["currency"] for bill in bills} == {usage.cost.currency}
        assert sum(Decimal(bill["amount"]) for bill in bills) == usage.cost.amount

    async def faults(self, *rules: dict[str, Any]) -> None:
        """Set the fault plan; without rules, clear it."""
        async with httpx.AsyncClient(base_url=self._sim()) as client:
            (await client.put("/_sim/faults", json=list(rules))).raise_for_status()

    async def world(self, action: str, **args: Any) -> dict[str, Any]:
        """Let something happen in the simulated world."""
        async with httpx.AsyncClient(base_url=self._sim(), timeout=30) as client:
            response = await client.post("/_sim/world", json={"action": action, "args": args})
            response.raise_for_status()
            world: dict[str, Any] = response.json()
            return world

    async def persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call that is safe to repeat until it succeeds, as a step of a workflow does."""
        for tries in range(_TRIES):
            try:
                return await asyncio.wait_for(call(), self.patience)
            except _PASSING as error:
                wait = error.retry_after.total_seconds() if isinstance(error, RateLimited) else 0.1
                last = error
                await asyncio.sleep(min(wait, 1.0) * (1 if tries else 0.1))
        raise AssertionError(f"still failing after {_TRIES} tries: {last!r}") from last

    async def _lease(self, provider: AnyProvider, spec: JobSpec, key: str) -> LeaseRef | None:
        """As the steps `prepare` and `commit` do it; None if another provider would be tried."""
        for tries in range(_TRIES):
            try:
                lease = await provider.find(key) if tries else None
                if lease is not None and lease.committed:
                    return lease.ref
                reservation = await provider.prepare(spec, key)
                return (await provider.commit(reservation)).ref
            except _PASSING:
                await asyncio.sleep(0.1)
            except LeaseLost:
                break
            except ProviderError:  # refused: compensate, as `settle` does
                break
        lease = await self.persist(lambda: provider.find(key))
        if lease is not None:
            await self.persist(lambda: provider.cancel(lease.ref))
        return None

    async def _calls_of(self, act: Callable[[], Awaitable[Any]]) -> list[str]:
        """The calls that an act makes on a good day."""
        async with httpx.AsyncClient(base_url=self._sim()) as client:
            await client.delete("/_sim/calls")
            await act()
            calls = (await client.get("/_sim/calls")).json()
        return [f"{call['method']} {call['path']}" for call in calls]

    async def _alive(self, key: str) -> list[str]:
        leases = await self._control("leases")
        return [lease["id"] for lease in leases if lease["key"] == key and lease["alive"]]

    async def _nothing_left(self, key: str, after: str) -> None:
        async def gone() -> bool:
            return not await self._alive(key)

        await eventually(gone, timeout=5, what=f"nothing is left after {after}")

    async def _control(self, what: str) -> Any:
        async with httpx.AsyncClient(base_url=self._sim(), timeout=30) as client:
            return (await client.get(f"/_sim/{what}")).json()

    def _sim(self) -> str:
        if self.sim_url is None:
            pytest.skip("there is no simulator with a fault plan for this network")
        return self.sim_url


def _spread(place: int) -> list[str]:
    """Some of the faults for each call, others for the next: all are met on the way."""
    count = int(os.environ.get("CORTEX_CONFORMANCE_FAULTS", "1"))
    return [_EFFECTS[(place * count + i) % len(_EFFECTS)] for i in range(count)]
