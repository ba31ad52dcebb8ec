"""Escrows and runtime limits of leases that run."""

from datetime import timedelta
from decimal import Decimal

from cortex.domain.leases import LeaseRef
from cortex.domain.states import RunState
from providers.akash import AkashProvider
from providers.conformance import eventually
from tests.providers.akash.conftest import MakeNet, Net, spec


async def leased(akash: AkashProvider, lease: str, **changes: str) -> LeaseRef:
    job = spec("sleep 600", **changes)
    (offer,) = await akash.quote(job)
    return (await akash.submit(job, lease, offer=offer)).ref


class TestTopUp:
    """Of older Consoles: the newer one does it itself."""

    async def test_an_escrow_that_runs_low(self, older: Net, lease: str) -> None:
        akash = await older.provider(top_up_below="400d")
        ref = await leased(akash, lease, duration="90d")
        escrow = older.world.book.deployments[ref.network_id].escrow
        before = escrow.funds
        await akash.tend([ref])
        assert escrow.funds > before
        assert (await akash.usage(ref)).cost.amount < Decimal("0.01")

    async def test_one_that_lasts_is_left_alone(self, older: Net, lease: str) -> None:
        akash = await older.provider()
        ref = await leased(akash, lease)
        await akash.tend([ref])
        assert await older.calls("POST", "/v1/deposit-deployment") == 0

    async def test_never_more_than_the_budget(self, older: Net, lease: str) -> None:
        akash = await older.provider(top_up_below="400d")
        ref = await leased(akash, lease, duration="90d", budget="0.7 USD")
        for _ in range(3):
            await akash.tend([ref])
        assert await older.calls("POST", "/v1/deposit-deployment") == 1
        escrow = older.world.book.deployments[ref.network_id].escrow
        assert escrow.funds + escrow.transferred == 700_000

    async def test_without_credit_the_others_are_still_tended(self, older: Net, lease: str) -> None:
        akash = await older.provider(top_up_below="400d")
        first = await leased(akash, lease, duration="90d")
        second = await leased(akash, f"{lease[:-1]}2", duration="90d")
        await older.act("empty_wallet", left="0.6")
        await akash.tend([first, second])
        assert await older.calls("POST", "/v1/deposit-deployment") == 2

    async def test_a_lost_answer_is_no_harm(self, older: Net, lease: str) -> None:
        akash = await older.provider(top_up_below="400d")
        ref = await leased(akash, lease, duration="90d")
        await older.fault("POST /v1/deposit-deployment", "drop_after")
        await akash.tend([ref])
        assert (await akash.status(ref)).state is not RunState.LOST

    async def test_not_at_every_turn(self, older: Net, lease: str) -> None:
        akash = await older.provider(upkeep_every="1h")
        ref = await leased(akash, lease)
        await akash.tend([ref])
        before = await older.calls("GET", "/v1/blocks")
        await akash.tend([ref])
        assert await older.calls("GET", "/v1/blocks") == before


class TestRuntimeLimit:
    async def test_it_moves_on_while_cortex_is_there(self, make_net: MakeNet, lease: str) -> None:
        net = await make_net()
        akash = await net.provider(runtime_window="4h")
        ref = await leased(akash, lease)
        deployment = net.world.book.deployments[ref.network_id]
        assert deployment.limit_hours == 4
        assert deployment.name == deployment.group
        await akash.tend([ref])
        assert deployment.limit_hours == 4
        deployment.leases[0].made_at -= timedelta(hours=3).total_seconds()
        later = await net.provider(runtime_window="4h")
        await later.tend([ref])
        assert deployment.limit_hours == 7

    async def test_without_cortex_the_network_ends_it(self, make_net: MakeNet, lease: str) -> None:
        net = await make_net()
        akash = await net.provider(runtime_window="1h")
        ref = await leased(akash, lease)
        net.world.book.deployments[ref.network_id].leases[0].made_at -= 3601

        async def over() -> bool:
            return not await net.alive()

        await eventually(over, what="the end")
        assert (await akash.status(ref)).state is RunState.LOST
        assert (await akash.usage(ref)).final

    async def test_older_consoles_are_not_asked(self, older: Net, lease: str) -> None:
        akash = await older.provider()
        ref = await leased(akash, lease)
        await akash.tend([ref])
        path = f"/v2/deployment-settings/{ref.network_id}"
        assert await older.calls("GET", path) == await older.calls("PATCH", path) == 0


class TestNewerConsoles:
    async def test_everything_is_found_by_name(self, make_net: MakeNet, lease: str) -> None:
        net = await make_net(index_lag=600)
        akash = await net.provider()
        ref = await leased(akash, lease)
        other = await net.provider()
        at_network = await other.find(lease)
        assert at_network is not None
        assert at_network.ref.network_id == ref.network_id
        assert at_network.committed
        assert [owned.key for owned in await other.owned()] == [lease]
        await akash.cancel(ref)
        at_network = await other.find(lease)
        assert at_network is not None
        assert (await other.usage(at_network.ref)).final
        assert await other.owned() == []
