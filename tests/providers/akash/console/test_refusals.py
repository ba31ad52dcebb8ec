"""Refusals by their meaning: whose fault it is, and that the Console's words are told."""

import pytest

from providers.akash.console import refusals
from providers.errors import (
    InsufficientFunds,
    NoCapacity,
    ProviderError,
    Unavailable,
    Unsuitable,
)
from providers.http import Refused
from tests.providers.akash.conftest import MakeNet, Net, spec

# As the Console's source words them (`chain-error.service.ts`, `sdl.service.ts`).
WORDS = {
    "Insufficient funds": InsufficientFunds,
    "Failed to create deployment: Insufficient funds": InsufficientFunds,
    "Console trial expired": InsufficientFunds,
    "Not enough funds to cover the transaction fee": InsufficientFunds,
    "Invalid SDL: rtx4090 not available on free trial: Add funds to unlock GPU access": Unsuitable,
    "Invalid SDL: GPU interconnect not available on free trial: Add funds to unlock": Unsuitable,
    "Invalid SDL: /services/job must have required property 'image'": Unsuitable,
    "SDL is too large: it exceeds the maximum of 60000 characters once stored": Unsuitable,
    "Invalid GPU attributes": Unsuitable,
    "Deposit too low": NoCapacity,
}


class TestWords:
    @pytest.mark.parametrize(("words", "error"), WORDS.items())
    def test_of_a_creation(self, words: str, error: type[ProviderError]) -> None:
        refusal = refusals.of_creation(Refused(400, f"the Akash Console: {words}"))
        assert type(refusal) is error
        assert words in str(refusal)

    def test_a_wallet_that_is_being_made(self) -> None:
        assert isinstance(refusals.of_creation(Refused(409, "wallet_provisioning")), Unavailable)


class TestAtTheConsole:
    @pytest.mark.parametrize("words", ["Insufficient funds", "Console trial expired"])
    async def test_an_account_that_cannot_pay_makes_nothing(
        self, net: Net, lease: str, words: str
    ) -> None:
        akash = await net.provider()
        await net.act("account", says=words)
        with pytest.raises(InsufficientFunds, match=words):
            await akash.prepare(spec(), lease)
        assert await net.alive() == []

    async def test_one_that_cannot_pay_the_lease_leaves_nothing(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec(), lease)
        await net.act("account", says="Insufficient funds")
        with pytest.raises(InsufficientFunds, match="Insufficient funds"):
            await akash.commit(reservation)
        assert await net.alive() == []

    async def test_a_gpu_that_a_trial_does_not_have(self, make_net: MakeNet, lease: str) -> None:
        net = await make_net(trial=True)
        akash = await net.provider()
        with pytest.raises(Unsuitable, match="a100 not available on free trial"):
            await akash.prepare(spec(resources={"gpu": {"model": "a100"}}), lease)
        await akash.prepare(spec(), lease)

    @pytest.mark.parametrize("extended", [True, False])
    async def test_402_says_what_is_locked(
        self, make_net: MakeNet, lease: str, extended: bool
    ) -> None:
        net = await make_net(extended=extended)
        akash = await net.provider(count_credit=False)
        await akash.submit(spec("sleep 600"), lease)
        await net.act("empty_wallet", left="0.3")
        with pytest.raises(InsufficientFunds) as caught:
            await akash.prepare(spec(), f"{lease[:-1]}2")
        assert "Not enough balance to cover the deployment deposit" in str(caught.value)
        assert "0.30 USD are free" in str(caught.value)
        assert "are locked in deployments that run" in str(caught.value)


class TestLeaseCreation:
    """404 and 502 have two meanings each."""

    async def test_502_without_a_lease_takes_the_next_bid(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        first = net.world.book.deployments[reservation.ref.network_id].bids[0].provider
        await net.act("provider_offline", provider=first)
        await net.calls("POST", "/v1/leases")
        await akash.commit(reservation)
        (deployment,) = net.world.book.deployments.values()
        assert len(deployment.leases) == 1
        assert deployment.leases[0].provider != first
        assert await net.calls("POST", "/v1/leases") == 2  # asked once, and somebody else

    async def test_502_with_a_lease_is_sent_again(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.act("refuse_manifest", times=2)
        await akash.commit(reservation)
        assert await net.calls("POST", "/v1/leases") == 3
        (deployment,) = net.world.book.deployments.values()
        assert deployment.leases[0].delivered_at is not None

    @pytest.mark.parametrize("extended", [True, False])
    async def test_404_of_a_provider_that_has_not_heard_of_the_lease(
        self, make_net: MakeNet, lease: str, extended: bool
    ) -> None:
        net = await make_net(extended=extended)
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.act("late_lease", times=2)
        await akash.commit(reservation)
        (deployment,) = net.world.book.deployments.values()
        assert len(deployment.leases) == 1
        assert deployment.leases[0].delivered_at is not None

    @pytest.mark.parametrize("extended", [True, False])
    async def test_404_for_ever_is_closed(
        self, make_net: MakeNet, lease: str, extended: bool
    ) -> None:
        net = await make_net(extended=extended)
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.act("late_lease", times=100)
        with pytest.raises(NoCapacity, match="took the lease but not what to run"):
            await akash.commit(reservation)
        assert await net.alive() == []

    @pytest.mark.parametrize("extended", [True, False])
    async def test_a_token_of_the_consoles_that_ran_out(
        self, make_net: MakeNet, lease: str, extended: bool
    ) -> None:
        """A provider answers the manifest with 401: our key is good, and the lease costs."""
        net = await make_net(extended=extended)
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.act("refuse_token", times=2)
        await akash.commit(reservation)
        (deployment,) = net.world.book.deployments.values()
        assert deployment.leases[0].delivered_at is not None

    @pytest.mark.parametrize("extended", [True, False])
    async def test_one_that_is_refused_for_ever_is_closed(
        self, make_net: MakeNet, lease: str, extended: bool
    ) -> None:
        net = await make_net(extended=extended)
        akash = await net.provider()
        reservation = await akash.prepare(spec("sleep 600"), lease)
        await net.act("refuse_token", times=100)
        with pytest.raises(NoCapacity, match="took the lease but not what to run"):
            await akash.commit(reservation)
        assert await net.alive() == []
