"""Every call is passed on and counted; a provider that is replaced ends its long calls."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from activities.runtime.counted_provider import CountedProvider
from cortex.domain.leases import LeaseRef
from cortex.domain.metrics import Sample
from cortex.domain.offers import PriceSheet
from providers.base import LogLine, NetworkStatus, Provider
from providers.calls import note
from providers.errors import (
    AuthenticationFailed,
    InsufficientFunds,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    Unavailable,
)
from providers.null import NullConfig, NullProvider
from tests.support import patience

REF = LeaseRef(key="k", network_id="k")


class Network(NullProvider):
    """One that answers as it is told."""

    def __init__(self) -> None:
        super().__init__("net", NullConfig())
        self.error: Exception | None = None
        self.reachable = True
        self.closed = False
        self.go_on = asyncio.Event()

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        if self.error is not None:
            raise self.error
        return [Sample(key=ref.key) for ref in refs]

    async def pricing(self) -> PriceSheet:
        if self.error is not None:
            raise self.error
        return await super().pricing()

    async def network_status(self) -> NetworkStatus:
        return NetworkStatus(reachable=self.reachable, message="" if self.reachable else "down")

    async def owned(self) -> list[LeaseRef]:
        await self.go_on.wait()
        assert not self.closed
        return []

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        for number in range(3):
            yield LogLine(time=datetime.now(UTC), text=str(number), cursor=str(number))
        if follow:
            await asyncio.sleep(60)

    async def wait_for_change(self, timeout: timedelta) -> None:
        await asyncio.sleep(60)

    async def aclose(self) -> None:
        self.closed = True


class Counted:
    """A counted network and what was told of its calls."""

    def __init__(self) -> None:
        self.network = Network()
        self.told: list[str] = []
        self.provider = CountedProvider(self.network, answered=self._good, failed=self._bad)

    async def _good(self) -> None:
        self.told.append("answered")

    async def _bad(self, why: str) -> None:
        self.told.append(why)


@pytest.fixture
async def counted() -> Counted:
    return Counted()


def test_every_method_is_passed_on() -> None:
    """A new one in the contract must be passed on too, or its default would hide the network's."""
    public = {
        name
        for name, _ in inspect.getmembers(Provider, inspect.isfunction)
        if not name.startswith("_")
    }
    assert public <= set(vars(CountedProvider))


class TestCounting:
    @pytest.mark.parametrize("error", [Unavailable("away"), OutcomeUnknown("away")])
    async def test_what_was_not_answered_counts(self, counted: Counted, error: Exception) -> None:
        counted.network.error = error
        with pytest.raises(type(error)):
            await counted.provider.pricing()
        assert counted.told == ["away"]

    async def test_a_timeout_counts(self, counted: Counted) -> None:
        counted.network.error = TimeoutError()
        with pytest.raises(TimeoutError):
            await counted.provider.pricing()
        assert counted.told == ["it did not answer in time"]

    @pytest.mark.parametrize(
        "error",
        [
            AuthenticationFailed("no"),
            InsufficientFunds("no"),
            NoCapacity("no"),
            RateLimited("later"),
        ],
    )
    async def test_a_refusal_is_an_answer(self, counted: Counted, error: ProviderError) -> None:
        counted.network.error = error
        with pytest.raises(type(error)):
            await counted.provider.pricing()
        assert counted.told == ["answered"]

    @pytest.mark.parametrize("error", [None, Unavailable("away"), TimeoutError()])
    async def test_figures_say_nothing_about_a_network(
        self, counted: Counted, error: Exception | None
    ) -> None:
        """One that runs jobs well and tells no figures takes new jobs all the same."""
        counted.network.error = error
        if error is None:
            assert await counted.provider.metrics([REF]) == [Sample(key="k")]
        else:
            with pytest.raises(type(error)):
                await counted.provider.metrics([REF])
        assert counted.told == []
        assert {tally.step for tally in counted.provider.tallies()} == {"metrics"}

    async def test_a_bug_says_nothing(self, counted: Counted) -> None:
        counted.network.error = ValueError("ours")
        with pytest.raises(ValueError, match="ours"):
            await counted.provider.pricing()
        assert counted.told == []

    async def test_an_unreachable_network_counts(self, counted: Counted) -> None:
        await counted.provider.network_status()
        counted.network.reachable = False
        await counted.provider.network_status()
        assert counted.told == ["answered", "down"]


class TestReplacing:
    async def test_closes_after_the_last_call(self, counted: Counted) -> None:
        call = asyncio.create_task(counted.provider.owned())
        await asyncio.sleep(0)
        retiring = asyncio.create_task(counted.provider.retire())
        await asyncio.sleep(0.05)
        assert not counted.network.closed
        counted.network.go_on.set()
        assert await call == []
        await asyncio.wait_for(retiring, patience(5))
        assert counted.network.closed

    async def test_followed_logs_break_off(self, counted: Counted) -> None:
        seen: list[str] = []
        retiring: list[asyncio.Task[None]] = []

        async def follow() -> None:
            async for line in counted.provider.logs(REF, follow=True):
                seen.append(line.text)
                if len(seen) == 3:
                    retiring.append(asyncio.create_task(counted.provider.retire()))

        with pytest.raises(Unavailable, match="new configuration"):
            await asyncio.wait_for(follow(), patience(5))
        await asyncio.wait_for(retiring[0], patience(5))
        assert seen == ["0", "1", "2"]

    async def test_logs_that_end_are_whole(self, counted: Counted) -> None:
        assert [line.text async for line in counted.provider.logs(REF)] == ["0", "1", "2"]

    async def test_who_waits_for_a_push_is_woken(self, counted: Counted) -> None:
        waiting = asyncio.create_task(counted.provider.wait_for_change(timedelta(seconds=60)))
        await asyncio.sleep(0)
        await asyncio.wait_for(counted.provider.retire(), patience(5))
        await asyncio.wait_for(waiting, patience(5))


class TestRecord:
    async def test_each_step_with_its_leases(self, counted: Counted) -> None:
        await counted.provider.pricing()
        counted.network.error = Unavailable("no use for s3cret-key, says the network")
        with pytest.raises(Unavailable):
            await counted.provider.pricing()
        await counted.provider.statuses([REF])
        assert [line.text async for line in counted.provider.logs(REF)] == ["0", "1", "2"]
        steps = [(tally.step, tally.keys, tally.outcome) for tally in counted.provider.tallies()]
        assert steps == [
            ("pricing", (), "ok"),
            ("pricing", (), "Unavailable"),
            ("statuses", ("k",), "ok"),
        ]

    async def test_what_is_called_while_a_log_is_read_belongs_to_it_alone(self) -> None:
        class Noisy(Network):
            async def logs(
                self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
            ) -> AsyncIterator[LogLine]:
                async for line in super().logs(ref, since=since):
                    note("net", "GET /log", "200")
                    yield line

        nothing = Counted()
        provider = CountedProvider(Noisy(), answered=nothing._good, failed=nothing._bad)
        for follow in (False, True):
            async for _ in provider.logs(REF, follow=follow):
                note("net", "of the caller", "200")
        (tally,) = provider.tallies()
        assert (tally.step, tally.call, tally.count) == ("logs", "net GET /log", 6)

    async def test_no_secret_is_in_it(self) -> None:
        counted = Counted()
        secrets = {'["api_key"]': '"s3cret-key"'}
        provider = CountedProvider(
            counted.network, answered=counted._good, failed=counted._bad, secrets=secrets
        )
        counted.network.error = ValueError("a bug that tells s3cret-key")
        with pytest.raises(ValueError, match="a bug"):
            await provider.pricing()
        assert [tally.note for tally in provider.tallies()] == ["a bug that tells •••"]
