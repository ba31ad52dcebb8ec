"""A Console that talks nonsense, and clocks that are wrong: what is said, and what is left."""

import pytest

from cortex.domain.states import RunState
from providers.conformance import eventually
from providers.errors import NoCapacity, Unavailable
from tests.providers.akash.conftest import MakeNet, Net, cancelled, key, spec

PAGE = "a web page (`Just a moment...`)"


class TestWebPage:
    @pytest.mark.parametrize("status", [200, 403, 404, 502])
    async def test_it_is_told_by_its_title(self, net: Net, lease: str, status: int) -> None:
        akash = await net.provider(close_wait="0.3s")
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await net.fault("* *", "web_page", times=1000, page_status=status)
        for call in (
            akash.quote(spec()),
            akash.owned(),
            akash.usage(ref),
            akash.find(key()),
            akash.status(ref),  # a page with 404 does not say that the lease is gone
            akash.cancel(ref),  # nor that it is closed
        ):
            with pytest.raises(Unavailable) as caught:
                await call
            assert "<" not in str(caught.value)
            assert PAGE in str(caught.value)
        told = (await akash.network_status()).message
        assert PAGE in told
        await net.control.delete("/_sim/faults")
        assert (await akash.status(ref)).state is not RunState.LOST
        await cancelled(akash, ref)

    async def test_instead_of_a_creation_it_is_looked_for(self, net: Net, lease: str) -> None:
        akash = await net.provider(search_window="0.3s")
        await net.fault("POST /v1/deployments", "web_page")
        with pytest.raises(NoCapacity, match="Just a moment.*nothing of it appeared"):
            await akash.prepare(spec(), lease)
        assert await net.alive() == []

    async def test_instead_of_a_close_it_is_closed_all_the_same(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await net.fault("DELETE *", "web_page", times=2)
        await akash.cancel(ref)
        assert await net.alive() == []

    async def test_where_the_kind_of_the_console_is_asked(self, net: Net) -> None:
        await net.fault("GET /v1/deployment-funding-config", "web_page")
        with pytest.raises(Unavailable, match="Just a moment"):
            await net.provider()
        assert (await net.provider()).capabilities().images  # the next try


class TestServerError:
    async def test_500_for_everything(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await net.fault("* *", "error_before", status=500, times=1000)
        with pytest.raises(Unavailable, match="the Akash Console answers with 500"):
            await akash.quote(spec())
        with pytest.raises(Unavailable):
            await akash.prepare(spec(), key())
        with pytest.raises(Unavailable):
            await akash.statuses([ref])
        assert not (await akash.network_status()).reachable
        with pytest.raises(Unavailable, match="500"):
            await akash.cancel(ref)
        await net.control.delete("/_sim/faults")
        await akash.cancel(ref)
        assert await net.alive() == []


class TestClocks:
    @pytest.mark.parametrize("minutes", [10, -10])
    @pytest.mark.parametrize("extended", [True, False])
    async def test_the_consoles_is_off(
        self, make_net: MakeNet, lease: str, minutes: int, extended: bool
    ) -> None:
        net = await make_net(extended=extended)
        await net.act("skew_clock", seconds=60 * minutes)
        akash = await net.provider()
        job = spec("exit 4", secret_env={"A": "b"})
        ref = (await akash.submit(job, lease)).ref
        await akash.tend([ref])

        async def over() -> bool:
            return (await akash.status(ref)).state is RunState.EXITED

        await eventually(over, what="the end")
        assert (await akash.status(ref)).exit_code == 4
        assert [ref.key for ref in await akash.owned()] == [lease]
        await akash.cancel(ref)
        at_network = await (await net.provider()).find(lease)
        assert at_network is not None
        assert (await akash.usage(at_network.ref)).final
