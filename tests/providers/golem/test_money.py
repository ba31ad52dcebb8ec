"""Bills: accepted in time and to the last digit, refused with a reason, never over the budget."""

import asyncio
from decimal import Decimal

import pytest

from cortex.domain.states import RunState
from providers.conformance import eventually
from providers.errors import InsufficientFunds, Unavailable
from providers.golem import GolemProvider
from tests.providers.golem.conftest import Make, Sim, job, new_key


def notes(sim: Sim) -> list[str]:
    return [note.status for note in sim.world.core.notes.values()]


def invoices(sim: Sim) -> list[str]:
    return [invoice.status for invoice in sim.world.core.invoices.values()]


class TestDebitNotes:
    async def test_accepted_and_charged_once(self, golem: GolemProvider, sim: Sim) -> None:
        ref = (await golem.submit(job("sleep 60"), new_key())).ref
        await sim.act("bill_now", key=ref.key)
        await asyncio.gather(*(golem.tend([ref]) for _ in range(4)))
        calls = [call["path"] for call in await sim.books("calls")]
        assert sum(path.endswith("/accept") for path in calls) == 1
        assert notes(sim) == ["ACCEPTED"]
        (held,) = sim.world.core.allocations.values()
        assert held.spent == next(iter(sim.world.core.notes.values())).amount
        await golem.cancel(ref)
        (bill,) = await sim.books("bill")
        usage = await golem.usage(ref)
        assert usage.cost.amount == Decimal(bill["amount"]) > held.spent - 1
        assert usage.detail["source"] == "invoice"

    @pytest.mark.parametrize("fault", ["error_after", "drop_after", "malformed", "drop_before"])
    async def test_a_lost_answer_is_cleared_up(
        self, golem: GolemProvider, sim: Sim, fault: str
    ) -> None:
        ref = (await golem.submit(job("sleep 60"), new_key())).ref
        await sim.act("bill_now", key=ref.key)
        await sim.faults({"match": "POST */accept", "fault": fault})
        await golem.tend([ref])
        assert notes(sim) == ["ACCEPTED"]
        (held,) = sim.world.core.allocations.values()
        assert held.spent == next(iter(sim.world.core.notes.values())).amount

    async def test_too_much_ends_the_agreement_with_the_reason(
        self, golem: GolemProvider, sim: Sim
    ) -> None:
        ref = (await golem.submit(job("sleep 60"), new_key())).ref
        await sim.act("bill_now", key=ref.key, extra="0.5")
        await golem.tend([ref])
        assert notes(sim) == ["RECEIVED"]
        status = await golem.status(ref)
        assert status.state is RunState.LOST
        assert "a debit note asks" in status.message
        await golem.cancel(ref)
        assert (await golem.usage(ref)).final

    async def test_unanswered_it_breaks_the_agreement(self, golem: GolemProvider, sim: Sim) -> None:
        ref = (await golem.submit(job("sleep 60", duration="2h"), new_key())).ref
        (note,) = (await sim.act("bill_now", key=ref.key))["notes"]
        await sim.act("deadline", note=note)
        status = await golem.status(ref)
        assert status.state is RunState.LOST
        assert "DebitNotes" in status.message
        await golem.cancel(ref)

    async def test_another_leases_bills_are_left_alone(
        self, golem: GolemProvider, sim: Sim
    ) -> None:
        first = (await golem.submit(job("sleep 60"), new_key())).ref
        other = (await golem.submit(job("sleep 60"), new_key())).ref
        await sim.act("bill_now", key=other.key)
        await golem.tend([first])
        assert notes(sim) == ["RECEIVED"]
        await golem.tend([first, other])
        assert notes(sim) == ["ACCEPTED"]


class TestInvoices:
    async def test_too_much_is_rejected(self, golem: GolemProvider, sim: Sim) -> None:
        ref = (await golem.submit(job("true"), new_key())).ref
        await sim.act("habits", overcharge="0.25")
        await golem.cancel(ref)
        assert invoices(sim) == ["REJECTED"]
        usage = await golem.usage(ref)
        assert (usage.final, usage.cost.amount) == (True, Decimal(0))
        assert sim.world.core.allocations == {}

    async def test_a_second_one_is_refused(self, golem: GolemProvider, sim: Sim) -> None:
        ref = (await golem.submit(job("true"), new_key())).ref
        await sim.act("habits", invoices=2)
        await golem.cancel(ref)
        assert sorted(invoices(sim)) == ["ACCEPTED", "REJECTED"]
        (bill,) = await sim.books("bill")
        assert (await golem.usage(ref)).cost.amount == Decimal(bill["amount"])

    async def test_one_that_does_not_come_is_waited_for_and_then_given_up(
        self, make: Make, sim: Sim
    ) -> None:
        golem = await make(invoice_wait="0.3s", invoice_deadline="2s")
        ref = (await golem.submit(job("true"), new_key())).ref
        await sim.act("bill_now", key=ref.key)
        await golem.tend([ref])
        await sim.act("habits", invoices=0)
        with pytest.raises(Unavailable, match="has not sent its invoice"):
            await golem.cancel(ref)
        assert not (await golem.usage(ref)).final

        async def closed() -> bool:
            try:
                await golem.cancel(ref)
            except Unavailable:
                return False
            return True

        await eventually(closed, timeout=15, what="the end of waiting")
        usage = await golem.usage(ref)
        (note,) = sim.world.core.notes.values()
        assert (usage.final, usage.cost.amount) == (True, note.amount)


class TestBudget:
    async def test_an_empty_wallet(self, golem: GolemProvider, sim: Sim) -> None:
        await sim.act("drain_funds", left="0.000001")
        with pytest.raises(InsufficientFunds, match="fund it"):
            await golem.prepare(job("true"), new_key())
        assert await sim.books("leases") == []

    async def test_a_lease_never_costs_more_than_was_set_aside(self, make: Make, sim: Sim) -> None:
        golem = await make(max_glm="0.01", overcharge="1")
        ref = (await golem.submit(job("sleep 60", duration="1s"), new_key())).ref
        (held,) = sim.world.core.allocations.values()
        assert held.total <= Decimal("0.010001")
        held.total = held.spent + Decimal("0.0000001")
        await sim.act("bill_now", key=ref.key)
        await golem.tend([ref])
        assert notes(sim) == ["RECEIVED"]
        status = await golem.status(ref)
        assert status.state is RunState.LOST
        assert "set aside" in status.message or "budget" in status.message

    async def test_the_allocation_of_a_broken_prepare_is_used_again(
        self, golem: GolemProvider, sim: Sim
    ) -> None:
        key = new_key()
        await sim.faults({"match": "POST */demands", "fault": "error_before", "times": 1})
        with pytest.raises(Unavailable):
            await golem.prepare(job("true"), key)
        before = set(sim.world.core.allocations)
        assert len(before) == 1
        await golem.prepare(job("true"), key)
        assert set(sim.world.core.allocations) == before

    async def test_nothing_stays_set_aside_when_nobody_agrees(self, make: Make, sim: Sim) -> None:
        golem = await make(negotiation_timeout="1s")
        await sim.act("all_reject", reason="not today")
        with pytest.raises(Exception, match="not today"):
            await golem.prepare(job("true"), new_key())
        assert sim.world.core.allocations == {}
        assert sim.world.core.demands == {}
