"""The adapter against a real yagna daemon: from the market to the accepted invoice."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance import eventually
from providers.golem import GolemProvider
from tests.providers.golem.real.agent import Agent
from tests.providers.golem.real.conftest import IMAGE, settings
from tests.providers.golem.real.daemon import Daemon


def job(script: str, **changes: Any) -> JobSpec:
    fields = {"image": IMAGE, "command": ("sh", "-c", script), "duration": "10m", **changes}
    return JobSpec.model_validate(fields)


def new_key() -> str:
    return lease_key(new_id("job"), 1)


async def ended(provider: GolemProvider, ref: LeaseRef) -> LeaseSnapshot:
    async def final() -> LeaseSnapshot:
        now = await provider.status(ref)
        assert now.state.final, f"it is {now.state} ({now.message})"
        return now

    # A call under way when the bus was lost is answered by nothing but its timeout of 30 s.
    return await eventually(final, timeout=90, what="the end of the job")


async def texts(provider: GolemProvider, ref: LeaseRef, since: str | None = None) -> list[str]:
    return [line.text async for line in provider.logs(ref, since=since)]


class TestFlow:
    async def test_from_the_market_to_the_accepted_invoice(
        self, provider: GolemProvider, agent: Agent, daemon: Daemon, tmp_path: Path
    ) -> None:
        spec = job(
            'echo "$PLAIN"; echo oops >&2; mkdir out; echo result > out/file; sleep 1; exit 3',
            env={"PLAIN": "it's $HOME"},
            outputs=["out"],
        )
        offers = await provider.quote(spec)
        assert [offer.data["node"] for offer in offers] == [daemon.provider]

        key = new_key()
        reservation = await provider.prepare(spec, key, offer=offers[0])
        lease = await provider.find(key)
        assert lease is not None
        assert (lease.ref, lease.committed) == (reservation.ref, False)
        assert await provider.owned() == [reservation.ref]

        ref = (await provider.commit(reservation)).ref
        lease = await provider.find(key)
        assert lease is not None
        assert (lease.ref, lease.committed) == (ref, True)
        status = await ended(provider, ref)
        assert (status.state, status.exit_code) == (RunState.EXITED, 3)
        lines = [(line.stream, line.text) async for line in provider.logs(ref)]
        assert sorted(lines) == [("stderr", "oops"), ("stdout", "it's $HOME")]
        written = await provider.outputs(ref, ["out"], tmp_path)
        assert written == [Path("out/file")]
        assert (tmp_path / "out/file").read_text() == "result\n"

        note = await agent.bill_now(agent.activity_of(ref.network_id))
        before = await provider.usage(ref)
        await provider.tend([ref])
        async with daemon.client(daemon.requestor_key) as client:
            told = (await client.get(f"/payment-api/v1/debitNotes/{note}")).json()
            assert told["status"] == "ACCEPTED"
            await provider.cancel(ref)
            invoice_id = agent.invoices[ref.network_id]
            invoice = (await client.get(f"/payment-api/v1/invoices/{invoice_id}")).json()
            assert invoice["status"] == "ACCEPTED"
            assert (await client.get("/payment-api/v1/allocations")).json() == []
        usage = await provider.usage(ref)
        assert usage.final
        assert usage.cost.amount == Decimal(invoice["amount"])
        assert usage.cost >= before.cost
        after = await provider.status(ref)
        assert (after.state, after.exit_code) == (RunState.EXITED, 3)
        assert after.finished_at == status.finished_at
        assert await provider.owned() == []
        await provider.cancel(ref)
        assert await provider.usage(ref) == usage

    async def test_logs_are_live_and_another_instance_goes_on(
        self, provider: GolemProvider, daemon: Daemon
    ) -> None:
        ref = (await provider.submit(job("echo one; sleep 600"), new_key())).ref

        async def printed() -> bool:
            return await texts(provider, ref) == ["one"]

        await eventually(printed, timeout=15, what="the first line")
        other = GolemProvider("golem-real", settings(daemon))
        await other.initialize()
        again = await other.find(ref.key)
        assert again is not None
        assert again.committed
        assert (await other.status(again.ref)).state is RunState.RUNNING
        await other.stop(again.ref)
        assert (await ended(other, ref)).exit_code == 143
        await other.cancel(ref)
        assert await texts(other, ref) == []
        await other.aclose()

    async def test_a_provider_that_the_bus_dropped_comes_back(
        self, provider: GolemProvider, agent: Agent
    ) -> None:
        """As after tests in which our event loop stood still and nobody answered its pings."""
        agent.lose_the_bus()
        ref = (await provider.submit(job("echo one; sleep 2; echo two"), new_key())).ref
        agent.lose_the_bus()
        assert (await ended(provider, ref)).exit_code == 0
        assert await texts(provider, ref) == ["one", "two"]
        await provider.cancel(ref)

    async def test_a_reservation_is_given_back(
        self, provider: GolemProvider, daemon: Daemon
    ) -> None:
        reservation = await provider.prepare(job("true"), new_key())
        await provider.cancel(reservation.ref)
        usage = await provider.usage(reservation.ref)
        assert usage.final
        assert usage.cost.amount == 0
        assert (await provider.status(reservation.ref)).state is RunState.LOST
        async with daemon.client(daemon.requestor_key) as client:
            assert (await client.get("/payment-api/v1/allocations")).json() == []

    async def test_prepare_twice_and_at_once_is_one_agreement(
        self, provider: GolemProvider
    ) -> None:
        key, spec = new_key(), job("true")
        made = await asyncio.gather(*(provider.prepare(spec, key) for _ in range(3)))
        assert len({reservation.ref.network_id for reservation in made}) == 1
        await provider.cancel(made[0].ref)

    async def test_an_invoice_that_asks_too_much_is_rejected(
        self, provider: GolemProvider, agent: Agent, daemon: Daemon
    ) -> None:
        ref = (await provider.submit(job("true"), new_key())).ref
        await ended(provider, ref)
        agent.behaviour.overcharge = Decimal("0.5")
        try:
            await provider.cancel(ref)
        finally:
            agent.behaviour.overcharge = Decimal(0)
        async with daemon.client(daemon.requestor_key) as client:
            path = f"/payment-api/v1/invoices/{agent.invoices[ref.network_id]}"
            assert (await client.get(path)).json()["status"] == "REJECTED"
        usage = await provider.usage(ref)
        assert (usage.final, usage.cost.amount) == (True, Decimal(0))

    async def test_health(self, provider: GolemProvider) -> None:
        status = await provider.network_status()
        assert status.reachable
        assert status.version == "0.17.6"
        assert status.capacity["peers"] == "0"
