"""Reservations and the credits behind them: made once, found again, stopped for good."""

import asyncio
from decimal import Decimal

import pytest

from cortex.domain.states import RunState
from providers.base import Reservation
from providers.errors import (
    InsufficientFunds,
    LeaseLost,
    OutcomeUnknown,
)
from tests.providers.nosana.conftest import Sim
from tests.providers.nosana.support import ended, job, new_key, running


class TestReservations:
    async def test_nothing_is_at_the_network_before_the_commit(self, sim: Sim) -> None:
        provider = await sim.provider()
        reservation = await provider.prepare(job(), new_key())
        assert await provider.find(reservation.ref.key) is None
        assert sim.world.network.books.deployments == {}
        await provider.cancel(reservation.ref)
        usage = await provider.usage(reservation.ref)
        assert (usage.final, usage.cost.amount) == (True, Decimal(0))
        await provider.forget(reservation.ref)
        await provider.aclose()

    async def test_it_outlives_the_worker(self, sim: Sim) -> None:
        """All that the commit needs is in the reference, but for secrets."""
        first = await sim.provider()
        reservation = await first.prepare(job("exit 4"), new_key())
        await first.aclose()
        kept = Reservation.model_validate_json(reservation.model_dump_json())
        second = await sim.provider()
        done = await second.commit(kept)
        assert done.ref.network_id in sim.world.network.books.deployments
        assert "create" not in done.ref.data
        assert (await ended(second, done.ref)).exit_code == 4
        assert (await ended(second, kept.ref)).exit_code == 4  # the commit's answer may be lost
        await second.aclose()

    async def test_a_lost_answer_to_create_is_found_again(self, sim: Sim) -> None:
        provider, key = await sim.provider(), new_key()
        reservation = await provider.prepare(job(), key)
        await sim.faults({"match": "POST */create", "fault": "drop_after"})
        with pytest.raises(OutcomeUnknown):
            await provider.commit(reservation)
        lease = await provider.find(key)
        assert lease is not None
        assert lease.committed
        assert (await provider.commit(reservation)).ref == lease.ref
        assert (await sim.calls("POST")).count("/api/deployments/create") == 1
        await provider.aclose()

    async def test_of_two_of_one_name_the_oldest_lives_and_both_are_paid(self, sim: Sim) -> None:
        """As two workers leave them whose creations crossed: the list had none for either."""
        provider, key = await sim.provider(), new_key()
        reservation = await provider.prepare(job("sleep 600"), key)
        first = (await provider.commit(reservation)).ref
        await running(provider, first)
        await sim.faults({"match": "GET /api/deployments", "fault": "empty"})
        again = (await provider.commit(reservation)).ref
        assert again == first
        books = sim.world.network.books
        assert [deployment.status for deployment in books.deployments.values()] == [
            "RUNNING",
            "STOPPED",
        ]
        assert [lease.key for lease in await sim.world.leases() if lease.alive] == [key]
        await provider.cancel(first)
        bills = await sim.bill(key)
        usage = await provider.usage(first)
        assert usage.final
        assert len(bills) == 2
        assert usage.cost.amount == sum(Decimal(bill["amount"]) for bill in bills)
        await provider.forget(first)
        assert await provider.find(key) is None
        await provider.aclose()

    async def test_cancel_ends_everything_of_the_name(self, sim: Sim) -> None:
        """Also what came to be after the reference was written."""
        provider, key = await sim.provider(), new_key()
        reservation = await provider.prepare(job("sleep 600"), key)
        first = (await provider.commit(reservation)).ref
        books = sim.world.network.books
        late = books.deployments[first.network_id].model_copy(
            update={"id": "late", "created_at": sim.world.clock.now(), "status": "STARTING"}
        )
        books.deployments["late"] = late
        await provider.cancel(reservation.ref)
        assert {deployment.status for deployment in books.deployments.values()} == {"STOPPED"}
        await provider.forget(reservation.ref)
        assert [deployment.deleted for deployment in books.deployments.values()] == [True, True]
        await provider.aclose()

    async def test_a_draft_of_an_earlier_version(self, sim: Sim) -> None:
        """It is started as it was made; if not, it stays for ever, costs nothing, is not owned."""
        provider = await sim.provider()
        first, second = [(await provider.submit(job(), new_key())).ref for _ in range(2)]
        await ended(provider, first)
        await ended(provider, second)
        for ref in (first, second):
            deployment = sim.world.network.books.deployments[ref.network_id]
            deployment.status = "DRAFT"
        fresh = await sim.provider()
        assert await fresh.owned() == []
        assert (await fresh.commit(Reservation(ref=first))).ref == first
        await fresh.cancel(second)
        assert (await fresh.usage(second)).final
        await fresh.forget(second)
        assert sim.world.network.books.deployments[second.network_id].status == "DRAFT"
        for each in (provider, fresh):
            await each.aclose()

    async def test_a_list_longer_than_a_page(self, sim: Sim) -> None:
        provider = await sim.provider()
        first = (await provider.submit(job(), new_key())).ref
        await ended(provider, first)
        books = sim.world.network.books
        model = books.deployments[first.network_id]
        keys = {first.key, *(new_key() for _ in range(230))}
        for number, key in enumerate(sorted(keys - {first.key})):
            books.deployments[f"copy-{number}"] = model.model_copy(
                update={"id": f"copy-{number}", "name": f"cortex-{key}"}
            )
        other = model.model_copy(update={"id": "other", "name": "somebody-elses"})
        books.deployments["other"] = other
        assert {ref.key for ref in await provider.owned()} == keys
        await provider.aclose()

    async def test_two_cortexes_on_one_account(self, sim: Sim) -> None:
        one, two = await sim.provider(), await sim.provider(name_prefix="other")
        ref = (await one.submit(job(), new_key())).ref
        assert await two.owned() == []
        assert await two.find(ref.key) is None
        assert [owned.key for owned in await one.owned()] == [ref.key]
        for each in (one, two):
            await each.aclose()


class TestFunds:
    async def test_an_empty_account_reserves_nothing(self, sim: Sim) -> None:
        provider, key = await sim.provider(), new_key()
        await sim.act("drain_funds")
        with pytest.raises(InsufficientFunds, match="top it up"):
            await provider.prepare(job(), key)
        assert await provider.find(key) is None
        await provider.aclose()

    async def test_too_little_for_the_job_is_told_at_commit(self, sim: Sim) -> None:
        provider = await sim.provider()
        await sim.act("drain_funds")
        await sim.act("top_up", usd="0.000001")
        reservation = await provider.prepare(job(), new_key())
        with pytest.raises(InsufficientFunds, match="too few credits"):
            await provider.commit(reservation)
        # The network would post the job as soon as there is more: so it is stopped already.
        (made,) = sim.world.network.books.deployments.values()
        assert made.status == "STOPPED"
        await sim.act("top_up", usd="50")
        await asyncio.sleep(1.5)
        assert sim.world.network.books.runs == {}
        with pytest.raises(LeaseLost):
            await provider.commit(reservation)
        await provider.cancel(reservation.ref)
        assert (await provider.usage(reservation.ref)).final
        await provider.aclose()

    async def test_credit_that_runs_out_later_is_a_loss_that_cancel_stops(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job("sleep 600"), new_key())).ref
        deployment = sim.world.network.books.deployments[ref.network_id]
        sim.world.network.books.runs.clear()
        await sim.act("drain_funds")
        deployment.status, deployment.due_at = "INSUFFICIENT_FUNDS", sim.world.clock.now()
        status = await provider.status(ref)
        assert (status.state, status.message) == (
            RunState.LOST,
            "the account has too few credits for the job",
        )
        assert not (await provider.usage(ref)).final
        await provider.cancel(ref)
        assert sim.world.network.books.deployments[ref.network_id].status == "STOPPED"
        assert (await provider.usage(ref)).final
        await provider.aclose()

    async def test_a_negative_balance_archives_everything(self, sim: Sim) -> None:
        """What is archived can neither be stopped nor removed; it ends, and is forgotten here."""
        provider = await sim.provider()
        ref = (await provider.submit(job("sleep 600"), new_key())).ref
        await running(provider, ref)
        await sim.act("negative_balance")
        end = await ended(provider, ref)
        assert end.state is RunState.LOST
        await provider.cancel(ref)
        usage = await provider.usage(ref)
        (bill,) = await sim.bill(ref.key)
        assert (usage.final, usage.cost.amount) == (True, Decimal(bill["amount"]))
        await provider.forget(ref)
        assert await provider.owned() == []
        await provider.aclose()
