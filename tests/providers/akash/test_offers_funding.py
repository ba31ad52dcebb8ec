"""Credit that the newer Console locks ahead, and what a quote says of it."""

from decimal import Decimal

import pytest

from providers.errors import InsufficientFunds
from tests.providers.akash.conftest import MakeNet, Net, spec

A100 = {"gpu": {"model": "a100"}}


class TestRunway:
    async def test_the_console_funds_a_lease_and_not_we(self, net: Net, lease: str) -> None:
        akash = await net.provider(min_deposit="20", deposit_for="300d", top_up_below="300d")
        ref = (await akash.submit(spec("sleep 600", resources=A100), lease)).ref
        escrow = net.world.book.deployments[ref.network_id].escrow
        hourly = (await akash.usage(ref)).cost  # nothing yet: what is in an escrow is no cost
        assert hourly.amount < Decimal("0.1")
        assert Decimal(50) < escrow.funds / 1_000_000 < Decimal(60)  # 48 hours of an A100
        await akash.tend([ref])
        assert await net.calls("POST", "/v1/deposit-deployment") == 0
        await akash.cancel(ref)
        assert net.world.book.credits > 99

    async def test_a_reservation_locks_half_a_dollar(self, net: Net, lease: str) -> None:
        akash = await net.provider(min_deposit="20")
        await akash.prepare(spec(), lease)
        assert net.world.book.credits == Decimal("99.5")

    async def test_a_second_job_meets_credit_that_is_locked(
        self, make_net: MakeNet, lease: str
    ) -> None:
        net = await make_net(credits=Decimal(30), headroom=Decimal(0))
        akash = await net.provider()
        job = spec("sleep 600", resources=A100)
        ref = (await akash.submit(job, lease)).ref
        assert net.world.book.credits == 0
        with pytest.raises(InsufficientFunds, match=r"has 0.00 USD of free credit.*30.00 USD are"):
            await akash.quote(job)
        await akash.cancel(ref)
        assert await akash.quote(job)


class TestQuote:
    async def test_it_says_how_long_the_credit_lasts(self, make_net: MakeNet) -> None:
        net = await make_net(credits=Decimal(6))
        akash = await net.provider()
        (short,) = await akash.quote(spec(resources=A100, duration="1h"))
        assert short.notes == ()
        (long,) = await akash.quote(spec(resources=A100, duration="10h"))
        (note,) = long.notes
        assert "the account's free credit, 6.00 USD, lasts for 3." in note
        assert "of the job's 10.0 hours" in note

    async def test_counting_can_be_switched_off(self, net: Net) -> None:
        await net.act("empty_wallet")
        with pytest.raises(InsufficientFunds):
            await (await net.provider()).quote(spec())
        assert await (await net.provider(count_credit=False)).quote(spec())

    async def test_one_that_nobody_can_read_is_no_reason(self, net: Net) -> None:
        akash = await net.provider()
        await net.fault("GET /v1/balances", "error_before", times=10)
        assert await akash.quote(spec())


class TestSilence:
    """GPUs that are listed, and that nobody bids on."""

    async def test_the_next_quote_says_so(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        job = spec(resources=A100)
        (offer,) = await akash.quote(job)
        assert offer.notes == ()
        assert offer.availability > Decimal("0.5")
        await net.act("silent_providers")
        with pytest.raises(Exception, match="a GPU that is listed may be in use"):
            await akash.prepare(job, lease, offer=offer)
        (offer,) = await akash.quote(job)
        assert offer.availability == Decimal("0.1")
        (note,) = offer.notes
        assert note.startswith("2 providers are listed as able to run it, but ")
        assert note.endswith(" ago none of them bid for such a job at this price")
        assert (await akash.quote(spec()))[0].notes == ()  # of another kind of job it says nothing

    async def test_a_bid_ends_it(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        job = spec(resources=A100)
        (offer,) = await akash.quote(job)
        await net.act("silent_providers")
        with pytest.raises(Exception, match="none bids"):
            await akash.prepare(job, lease, offer=offer)
        await net.act("silent_providers", on=False)
        await akash.prepare(job, f"{lease[:-1]}2", offer=offer)
        assert (await akash.quote(job))[0].notes == ()

    async def test_a_lower_price_is_no_proof(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        low = spec(placement={"max_price": "0.0000001 USD"})
        with pytest.raises(Exception, match="none bids"):
            await akash.prepare(low, lease)
        assert (await akash.quote(spec()))[0].notes == ()

    async def test_it_is_forgotten_after_a_while(self, net: Net, lease: str) -> None:
        akash = await net.provider(silence_kept="0s")
        await net.act("silent_providers")
        with pytest.raises(Exception, match="none bids"):
            await akash.prepare(spec(), lease)
        assert (await akash.quote(spec()))[0].notes == ()
