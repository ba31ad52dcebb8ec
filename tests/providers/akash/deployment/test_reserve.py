"""Creations, bids and leases that go wrong, and what is never done twice."""

import asyncio
from typing import Any

import httpx
import pytest
import yaml

from cortex.domain.money import Money
from cortex.domain.states import RunState
from providers.base import Reservation
from providers.conformance import eventually
from providers.errors import (
    AuthenticationFailed,
    InsufficientFunds,
    InvalidSpec,
    LeaseLost,
    NoCapacity,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    Unsuitable,
)
from simulators.akash import API_KEY, AkashSettings
from tests.providers.akash.conftest import MakeNet, Net, cancelled, spec

CREATE = "POST /v1/deployments"
LEASE = "POST /v1/leases"
EUROPE, AMERICA, ASIA = (provider.address for provider in AkashSettings().providers)


def chosen(net: Net, lease: str) -> str:
    """The provider that has the lease."""
    (deployment,) = [d for d in net.world.book.deployments.values() if d.leases]
    return deployment.leases[-1].provider


class TestNeverTwice:
    @pytest.mark.parametrize("fault", ["error_after", "drop_after", "malformed"])
    async def test_a_lost_answer_is_looked_for(self, net: Net, lease: str, fault: str) -> None:
        akash = await net.provider()
        await net.fault(CREATE, fault)
        told: list[str] = []

        async def report(message: str) -> None:
            told.append(message)

        reservation = await akash.prepare(spec(), lease, report=report)
        assert await net.calls("POST", "/v1/deployments") == 1
        assert any("looking for what it has made" in message for message in told)
        await akash.commit(reservation)  # with the manifest made here: the network has the hash
        assert await net.alive() == [lease]

    async def test_one_that_comes_late_is_adopted(self, net: Net, lease: str) -> None:
        akash = await net.provider(search_window="5s")
        await net.act("late_create", seconds=0.6)
        reservation = await akash.prepare(spec(), lease)
        assert await net.calls("POST", "/v1/deployments") == 1
        await akash.commit(reservation)
        assert await net.alive() == [lease]

    async def test_one_that_comes_too_late_is_closed_as_a_double(
        self, net: Net, lease: str
    ) -> None:
        akash = await net.provider(search_window="0.3s")
        await net.act("late_create", seconds=1.5)
        with pytest.raises(NoCapacity, match="nothing of it appeared on the chain"):
            await akash.prepare(spec(), lease)
        ref = (await akash.submit(spec("sleep 600"), lease)).ref

        async def two() -> bool:
            return len(await net.alive()) == 2

        await eventually(two, what="the late double")
        await akash.tend([ref])
        assert await net.alive() == [lease]
        assert (await akash.status(ref)).state is not RunState.LOST

    async def test_of_several_the_oldest_is_kept(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        first = await akash.prepare(spec(), lease)
        held = net.world.book.deployments[first.ref.network_id]
        async with httpx.AsyncClient(base_url=net.url, headers={"x-api-key": API_KEY}) as client:
            body = {"data": {"sdl": _text(held.sdl), "deposit": 0.5}}
            assert (await client.post("/v1/deployments", json=body)).status_code == 201
        assert len(await net.alive()) == 2
        at_network = await (await net.provider()).find(lease)
        assert at_network is not None
        assert at_network.ref.network_id == first.ref.network_id
        assert await net.alive() == [lease]

    async def test_one_without_a_name_yet_is_not_taken_for_nothing(
        self, make_net: MakeNet, lease: str
    ) -> None:
        net = await make_net(index_lag=0.8, extended=False)
        akash = await net.provider()
        await akash.prepare(spec(), lease)
        other = await net.provider()
        with pytest.raises(Unavailable, match="not known to the network yet"):
            await other.find(lease)
        with pytest.raises(Unavailable):
            await other.owned()
        await asyncio.sleep(0.9)
        at_network = await other.find(lease)
        assert at_network is not None
        assert not at_network.committed

    async def test_others_that_are_as_new_do_not_keep_a_job_waiting(
        self, make_net: MakeNet, lease: str
    ) -> None:
        """Names come with the index, minutes later; the hash of what runs is there at once."""
        net = await make_net(index_lag=600)
        akash, other = await net.provider(), await net.provider()
        await other.submit(spec("sleep 600"), f"{lease[:-1]}7")
        await net.fault(CREATE, "drop_after")
        reservation = await akash.prepare(spec("sleep 601"), lease)
        again = await other.prepare(spec("sleep 601"), lease)
        assert again.ref == reservation.ref
        ref = (await other.commit(again)).ref
        await akash.tend([ref])
        assert sorted(await net.alive()) == sorted([lease, f"{lease[:-1]}7"])

    async def test_a_lease_is_asked_for_again_and_made_once(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.fault(LEASE, "error_after", times=2)
        await akash.commit(reservation)
        deployment = net.world.book.deployments[reservation.ref.network_id]
        assert len(deployment.leases) == 1
        assert deployment.leases[0].delivered_at is not None


class TestManifest:
    async def test_it_is_sent_again_to_a_provider_that_did_not_get_it(
        self, net: Net, lease: str
    ) -> None:
        akash = await net.provider()
        await net.act("refuse_manifest", times=1)
        await akash.submit(spec("sleep 600"), lease)
        (deployment,) = net.world.book.deployments.values()
        assert deployment.leases[0].delivered_at is not None

    async def test_a_lease_that_never_gets_it_is_closed(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        await net.act("refuse_manifest", times=100)
        with pytest.raises(NoCapacity, match="took the lease but not what to run"):
            await akash.submit(spec(), lease)
        assert await net.alive() == []
        await net.act("refuse_manifest", times=0)
        await akash.submit(spec("sleep 600"), f"{lease[:-1]}2")
        alive = [d for d in net.world.book.deployments.values() if d.state == "active"]
        assert alive[0].leases[0].provider != EUROPE  # it has let us down: others first

    async def test_a_lease_without_a_manifest_ends_by_itself(
        self, make_net: MakeNet, lease: str
    ) -> None:
        """A crash between the lease and the manifest: the provider closes it, and we see it."""
        net = await make_net(manifest_timeout=0.3)
        akash = await net.provider()
        ref = (await akash.prepare(spec(), lease)).ref
        deployment = net.world.book.deployments[ref.network_id]
        net.world.take(deployment, deployment.bids[0])

        async def given_up() -> bool:
            return not deployment.leases[0].live

        await eventually(given_up, what="the end of the lease")
        snapshot = await akash.status(ref)
        assert snapshot.state is RunState.LOST
        assert "never got what to run" in snapshot.message

    async def test_a_reference_without_it_serves_on_newer_consoles(
        self, make_net: MakeNet, lease: str
    ) -> None:
        net = await make_net()
        await (await net.provider()).prepare(spec("sleep 600"), lease)
        other = await net.provider()
        at_network = await other.find(lease)
        assert at_network is not None
        await other.commit(Reservation(ref=at_network.ref))
        assert await net.alive() == [lease]

    async def test_elsewhere_such_a_reservation_is_given_up(self, older: Net, lease: str) -> None:
        await (await older.provider()).prepare(spec("sleep 600"), lease)
        other = await older.provider()
        at_network = await other.find(lease)
        assert at_network is not None
        with pytest.raises(NoCapacity, match="reserve again"):
            await other.commit(Reservation(ref=at_network.ref))
        assert await older.alive() == []

    async def test_secrets_are_sealed_in_the_reference(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec(secret_env={"TOKEN": "tr0ub4dor"}), lease)
        assert "tr0ub4dor" not in reservation.model_dump_json()
        assert API_KEY not in reservation.model_dump_json()
        assert API_KEY not in repr(akash.config)


class TestBids:
    async def test_uptime_counts_beside_the_price(self, net: Net, lease: str) -> None:
        """Asia is cheapest, and away two days of five."""
        akash = await net.provider()
        await akash.submit(spec("sleep 600"), lease)
        assert chosen(net, lease) == EUROPE

    async def test_only_in_the_regions_asked_for(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        job = spec("sleep 600", placement={"regions": ["us-east", "as-east"]})
        (offer,) = await akash.quote(job)
        assert offer.region in ("us-east", "as-east")
        await akash.submit(job, lease, offer=offer)
        assert chosen(net, lease) == AMERICA

    async def test_not_with_those_that_are_to_be_avoided(self, net: Net, lease: str) -> None:
        akash = await net.provider(avoid_providers=[EUROPE, ASIA])
        await akash.submit(spec("sleep 600"), lease)
        assert chosen(net, lease) == AMERICA

    async def test_late_ones_are_waited_for(self, net: Net, lease: str) -> None:
        akash = await net.provider(bid_deadline="10s")
        await net.act("late_bids", seconds=0.7)
        reservation = await akash.prepare(spec(), lease)
        assert reservation.price_per_hour is not None

    async def test_the_price_is_at_most_the_offers(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        job = spec()
        (offer,) = await akash.quote(job)
        reservation = await akash.prepare(job, lease, offer=offer)
        assert reservation.price_per_hour is not None
        assert reservation.price_per_hour <= offer.price_per_hour

    async def test_none_below_the_cap(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        with pytest.raises(NoCapacity) as caught:
            await akash.prepare(spec(placement={"max_price": "0.0000001 USD"}), lease)
        assert "3 providers of Akash could run the job, but none bids at most" in str(caught.value)
        assert await net.alive() == []

    async def test_none_at_all(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        await net.act("no_bids")
        with pytest.raises(NoCapacity):
            await akash.prepare(spec(), lease)
        assert await net.alive() == []

    async def test_a_gpu_that_nobody_has(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        job = spec(resources={"gpu": {"model": "a100", "count": 20}})
        with pytest.raises(NoCapacity, match="no provider of Akash has 20 x GPU `a100` free"):
            await akash.quote(job)
        with pytest.raises(NoCapacity, match="no provider of Akash has 20 x GPU `a100` free"):
            await akash.prepare(job, lease)
        unknown = spec(resources={"gpu": {"model": "b9000"}})
        assert await akash.quote(unknown) == []
        assert "no GPU `b9000`" in akash.capabilities().objections(unknown)[0]

    async def test_a_bid_that_is_withdrawn(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.act("withdraw_bids", key=lease, provider=EUROPE)
        await akash.commit(reservation)
        assert chosen(net, lease) == AMERICA

    async def test_all_of_them_withdrawn(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.act("withdraw_bids", key=lease)
        with pytest.raises(NoCapacity, match="withdrawn"):
            await akash.commit(reservation)
        assert await net.alive() == []

    async def test_a_bidder_that_vanishes(self, make_net: MakeNet, lease: str) -> None:
        net = await make_net()
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.act("provider_offline", provider=EUROPE)
        await akash.commit(reservation)
        assert chosen(net, lease) == AMERICA


class TestErrors:
    async def test_a_wrong_key(self, net: Net) -> None:
        with pytest.raises(AuthenticationFailed) as caught:
            await net.provider(api_key="ac.sk.wrong.secret")
        assert "ac.sk" not in str(caught.value)

    async def test_an_empty_wallet(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        await net.act("empty_wallet")
        with pytest.raises(InsufficientFunds, match="[Cc]redit"):
            await akash.prepare(spec(), lease)
        balance = (await akash.network_status()).balance
        assert balance == Money.zero("USD")

    async def test_too_many_calls(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        await net.fault(CREATE, "rate_limit", retry_after=7)
        with pytest.raises(RateLimited) as caught:
            await akash.prepare(spec(), lease)
        assert caught.value.retry_after.total_seconds() == 7
        assert await net.alive() == []

    async def test_a_deposit_that_is_too_low(self, older: Net, lease: str) -> None:
        akash = await older.provider(min_deposit="0.1")
        with pytest.raises(NoCapacity, match="raise `min_deposit`"):
            await akash.prepare(spec(), lease)

    async def test_a_closed_reservation(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec(), lease)
        await akash.cancel(reservation.ref)
        with pytest.raises(LeaseLost):
            await akash.commit(reservation)
        with pytest.raises(NoCapacity, match="cancelled before it was prepared"):
            await akash.prepare(spec(), lease)

    async def test_an_escrow_that_cannot_be_settled_yet(self, net: Net, lease: str) -> None:
        akash = await net.provider(close_wait="60s")
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await net.act("underflow", times=2)
        await akash.cancel(ref)
        assert await net.alive() == []

    async def test_one_that_is_never_settled_is_not_called_closed(
        self, net: Net, lease: str
    ) -> None:
        akash = await net.provider(close_wait="0.3s")
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await net.act("underflow", times=1000)
        with pytest.raises(Unavailable, match="cannot be settled yet"):
            await akash.cancel(ref)
        await net.act("underflow", times=0)
        await cancelled(akash, ref)
        await cancelled(akash, ref)

    async def test_a_lease_whose_outcome_stays_unknown(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.fault("* *", "drop_before", times=1000)
        with pytest.raises((OutcomeUnknown, Unavailable)):
            await akash.commit(reservation)

    @pytest.mark.parametrize(
        ("changes", "error", "words"),
        [
            ({"image": None}, Unsuitable, "container images only"),
            ({"command": ()}, Unsuitable, "needs the job's `command`"),
            ({"resources": {"gpu": {"vendor": "amd"}}}, Unsuitable, "NVIDIA only"),
            ({"resources": {"gpu": {"count": 25}}}, Unsuitable, "at most 24 GPUs"),
            ({"resources": {"cpu": 400}}, Unsuitable, "0.01 to 384 cores"),
            ({"resources": {"gpu": {"model": "a 100"}}}, InvalidSpec, "no name of a GPU model"),
            ({"env": {"A": "x\u2028y"}}, Unsuitable, "separators"),
            (
                {"volumes": [{"name": "v", "path": "/v", "persistent": True}]},
                Unsuitable,
                "cannot keep `v`",
            ),
            (
                {"kind": "service", "command": (), "workdir": "/app"},
                Unsuitable,
                "needs its `command`",
            ),
        ],
    )
    async def test_jobs_that_would_be_refused_when_billed(
        self, net: Net, lease: str, changes: dict[str, Any], error: type[Exception], words: str
    ) -> None:
        akash = await net.provider()
        with pytest.raises(error, match=words):
            await akash.prepare(spec(**changes), lease)
        assert await net.calls("POST", "/v1/deployments") == 0


def _text(sdl: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(sdl)
    return text
