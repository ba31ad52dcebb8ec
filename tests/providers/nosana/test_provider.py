"""What is Nosana's own: reservations, markets, credits, results that come late, nodes that die."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.base import Provider, Reservation
from providers.collected import NOT_SENT
from providers.conformance import eventually
from providers.errors import (
    AuthenticationFailed,
    InsufficientFunds,
    LeaseLost,
    NoCapacity,
    OutcomeUnknown,
    Unavailable,
    Unsuitable,
)
from providers.nosana import NosanaConfig, NosanaProvider
from simulators.nosana.state import standard_markets
from tests.providers.nosana.conftest import Sim

IMAGE = "docker.io/library/debian:stable-slim"


def job(script: str = "true", **changes: Any) -> JobSpec:
    fields = {"image": IMAGE, "command": ["sh", "-c", script], "duration": "5m", **changes}
    return JobSpec.model_validate(fields)


def new_key() -> str:
    return lease_key(new_id("job"), 1)


async def ended(provider: Provider[Any], ref: LeaseRef) -> LeaseSnapshot:
    async def final() -> LeaseSnapshot | None:
        snapshot = await provider.status(ref)
        return snapshot if snapshot.state.final else None

    snapshot = await eventually(final, what="the end")
    assert snapshot is not None
    return snapshot


async def running(provider: Provider[Any], ref: LeaseRef) -> None:
    async def runs() -> bool:
        return (await provider.status(ref)).state is RunState.RUNNING

    await eventually(runs, what="the start")


class TestMarkets:
    async def test_offers_with_the_fee_on_top_and_both_ends_told(self, sim: Sim) -> None:
        provider = await sim.provider()
        offers = await provider.quote(job())
        assert [offer.price_per_hour.amount for offer in offers] == [
            Decimal("0.0704"),
            Decimal("0.352"),
            Decimal("1.32"),
        ]
        assert "0.064 to 0.0704 USD per hour" in offers[0].hardware
        plain = await sim.provider(fee_included=True)
        assert (await plain.quote(job()))[0].price_per_hour.amount == Decimal("0.064")
        for each in (provider, plain):
            await each.aclose()

    @pytest.mark.parametrize(
        ("gpu", "count"),
        [
            ({"model": "rtx4090"}, 1),
            ({"model": "a100"}, 1),
            ({"model": "h100"}, 0),
            ({"count": 2}, 0),
            ({"vendor": "amd"}, 0),
            ({}, 3),
        ],
    )
    async def test_gpus(self, sim: Sim, gpu: dict[str, Any], count: int) -> None:
        provider = await sim.provider()
        assert len(await provider.quote(job(resources={"gpu": gpu}))) == count
        await provider.aclose()

    async def test_only_the_markets_that_are_allowed(self, sim: Sim) -> None:
        premium = await sim.provider(market_types=("PREMIUM",))
        assert len(await premium.quote(job())) == 2
        one = await sim.provider(markets=("nvidia-4090",))
        (offer,) = await one.quote(job())
        reservation = await one.prepare(job(), new_key(), offer=offer)
        slugs = {market.address: market.slug for market in standard_markets()}
        assert slugs[reservation.ref.data["market"]] == "nvidia-4090"
        with pytest.raises(NoCapacity, match="not allowed any more"):
            await premium.prepare(
                job(), new_key(), offer=offer.model_copy(update={"data": {"market": "gone"}})
            )
        for each in (premium, one):
            await each.aclose()

    async def test_what_it_cannot_do_is_no_offer(self, sim: Sim) -> None:
        provider = await sim.provider(drop=False)
        public = await sim.provider(confidential=False)
        with_files = job(outputs=["out"])
        with_secret = job(secret_env={"TOKEN": "x"})
        taking = job(inputs=[{"from": "job_1"}])
        udp = job(kind="service", ports=[{"port": 53, "protocol": "udp"}])
        for each, spec in (
            (provider, with_files),
            (provider, taking),
            (provider, with_secret),
            (public, taking),
            (public, with_secret),
            (provider, udp),
        ):
            assert await each.quote(spec) == []
            with pytest.raises(Unsuitable):
                await each.prepare(spec, new_key())
        assert await public.quote(with_files) != []
        for each in (provider, public):
            await each.aclose()


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

    async def test_a_wrong_key(self, sim: Sim) -> None:
        wrong = NosanaProvider("n", sim.config(api_key=SecretStr("nos_guess")))
        with pytest.raises(AuthenticationFailed) as caught:
            await wrong.initialize()
        assert "nos_guess" not in str(caught.value)
        status = await wrong.network_status()
        assert not status.reachable
        await wrong.aclose()

    def test_the_key_goes_over_https_only(self) -> None:
        with pytest.raises(ValidationError, match="https"):
            NosanaConfig(api_key=SecretStr("nos_x"), url="http://nosana.example")


class TestEnds:
    async def test_a_node_that_is_shut_down(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job("echo begun; sleep 600"), new_key())).ref
        await running(provider, ref)
        (run,) = sim.world.network.books.runs.values()

        async def begun() -> bool:
            return any("begun" in line.text for line in await sim.world.runs.lines(run.id))

        await eventually(begun, what="its output")
        await sim.act("lose_lease", key=ref.key)
        end = await ended(provider, ref)
        assert (end.state, end.exit_code) == (RunState.LOST, None)
        assert end.message == "the node was shut down: Operation stopped due to flow quit"
        assert [line.text async for line in provider.logs(ref)] == ["begun"]
        await provider.cancel(ref)
        usage = await provider.usage(ref)
        (bill,) = await sim.bill(ref.key)
        assert (usage.final, usage.cost.amount) == (True, Decimal(bill["amount"]))
        await provider.aclose()

    async def test_a_node_that_vanishes(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job("sleep 600"), new_key())).ref
        await running(provider, ref)
        await sim.act("provider_dies", key=ref.key)
        end = await ended(provider, ref)
        assert end.state is RunState.LOST
        assert "sent no result" in end.message
        assert [line async for line in provider.logs(ref, follow=True)] == []
        await provider.aclose()

    async def test_the_networks_own_time_limit(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job("trap 'exit 0' TERM; sleep 600 & wait"), new_key())).ref
        await running(provider, ref)
        await sim.act("expire", key=ref.key)
        end = await ended(provider, ref)
        assert (end.state, end.exit_code) == (RunState.EXITED, 124)
        assert "time limit" in end.message
        await provider.aclose()

    async def test_an_image_that_cannot_be_pulled(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job(image="docker.io/no-such/image"), new_key())).ref
        end = await ended(provider, ref)
        assert (end.state, end.unfit) == (RunState.LOST, True)
        assert "cannot be pulled: Error: initializing source" in end.message
        assert [line async for line in provider.logs(ref)] == []
        await provider.aclose()

    async def test_a_job_that_could_not_be_posted(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job("sleep 600"), new_key())).ref
        sim.world.network.books.runs.clear()
        await sim.act("fail_posting", key=ref.key)
        snapshot = await provider.status(ref)
        assert (snapshot.state, snapshot.message) == (
            RunState.LOST,
            "Nosana could not post the job",
        )
        await provider.cancel(ref)
        assert sim.world.network.books.deployments[ref.network_id].status == "STOPPED"
        await provider.forget(ref)
        assert await provider.owned() == []
        await provider.aclose()

    @pytest.mark.parametrize("place", ["start", "pull"])
    async def test_stopped_or_out_of_time_before_the_container(self, sim: Sim, place: str) -> None:
        provider = await sim.provider()
        await sim.act("hold_nodes", at=place)
        stopped, late = [(await provider.submit(job(), new_key())).ref for _ in range(2)]
        await running(provider, stopped)
        await running(provider, late)
        await sim.act("expire", key=late.key)
        await provider.cancel(stopped)
        assert (await provider.status(stopped)).state is RunState.LOST
        end = await ended(provider, late)
        assert end.exit_code == (124 if place == "pull" else None)
        await provider.cancel(late)
        for ref in (stopped, late):
            assert (await provider.usage(ref)).final
        await sim.act("hold_nodes")
        await provider.aclose()

    async def test_no_node_is_free(self, sim: Sim) -> None:
        provider = await sim.provider()
        await sim.act("provider_offline")
        ref = (await provider.submit(job(), new_key())).ref

        async def queued() -> bool:
            return "queue" in (await provider.status(ref)).message

        await eventually(queued, what="it is in the queue")
        assert (await provider.usage(ref)).cost.amount == 0
        waits = {offer.expected_wait for offer in await provider.quote(job())}
        assert waits == {timedelta(minutes=10)}
        await provider.cancel(ref)
        assert (await provider.status(ref)).state is RunState.LOST
        assert (await provider.usage(ref)).final
        await sim.act("provider_online")
        await provider.aclose()

    async def test_a_stop_that_is_not_confirmed_is_no_success(self, sim: Sim) -> None:
        provider = await sim.provider(patience="0.5s")
        ref = (await provider.submit(job("sleep 600"), new_key())).ref
        await running(provider, ref)
        async with sim.world.network.lock:  # time stands still there
            with pytest.raises(Unavailable, match="has not confirmed yet that"):
                await provider.cancel(ref)
        patient = await sim.provider()
        await patient.cancel(ref)
        assert (await provider.usage(ref)).final
        for each in (provider, patient):
            await each.aclose()


class TestFiles:
    async def test_output_and_files_of_one_job(self, sim: Sim, tmp_path: Path) -> None:
        """With files, the runner is around the command: lines and exit code stay the job's own."""
        provider = await sim.provider()
        script = "echo one; echo two >&2; mkdir out; printf 42 > out/answer; exit 3"
        ref = (await provider.submit(job(script, outputs=["out"]), new_key())).ref
        end = await ended(provider, ref)
        assert (end.state, end.exit_code) == (RunState.EXITED, 3)
        lines = [line async for line in provider.logs(ref)]
        # Two pipes: which line is read first, when both are there, is not told by anything.
        assert sorted((line.stream, line.text) for line in lines) == [
            ("stderr", "two"),
            ("stdout", "one"),
        ]
        assert await provider.outputs(ref, ["out"], tmp_path / "kept") == [Path("out/answer")]
        assert (tmp_path / "kept/out/answer").read_text() == "42"
        await provider.cancel(ref)
        await provider.forget(ref)
        gone = await provider.outputs(ref, ["out"], tmp_path / "gone")
        assert gone == []
        assert [(file.path, file.reason) for file in gone.left_out] == [("out", NOT_SENT)]
        await provider.aclose()

    async def test_too_large(self, sim: Sim, tmp_path: Path) -> None:
        provider = await sim.provider(max_output_bytes="1Mi")
        spec = job("head -c 3000000 /dev/zero > big; echo s > small", outputs=["big", "small"])
        ref = (await provider.submit(spec, new_key())).ref
        await ended(provider, ref)
        written = await provider.outputs(ref, ["big", "small"], tmp_path / "kept")
        assert list(written) == [Path("small")]
        assert "max_output_bytes" in written.left_out[0].reason
        await provider.aclose()


class TestServices:
    async def test_ports_are_reached_through_the_networks_addresses(self, sim: Sim) -> None:
        provider = await sim.provider()
        spec = job("sleep 600", kind="service", ports=[{"port": 8080}])
        ref = (await provider.submit(spec, new_key())).ref
        await running(provider, ref)
        (endpoint,) = (await provider.status(ref)).endpoints
        assert endpoint.port == 8080
        assert endpoint.url.startswith("https://")
        await provider.cancel(ref)
        await provider.aclose()


class TestCalls:
    async def test_many_leases_cost_one_list(self, sim: Sim) -> None:
        provider = await sim.provider()
        refs = [(await provider.submit(job("sleep 600"), new_key())).ref for _ in range(6)]
        before = len(await sim.calls("GET"))
        snapshots = await provider.statuses(refs)
        assert len(snapshots) == 6
        calls = (await sim.calls("GET"))[before:]
        assert calls.count("/api/deployments") == 1
        assert not any(path.count("/") == 3 for path in calls)  # none for a single deployment
        for ref in refs:
            await provider.cancel(ref)
        await provider.aclose()

    async def test_ended_leases_cost_none(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job("exit 5"), new_key())).ref
        await ended(provider, ref)
        await provider.cancel(ref)
        await provider.status(ref)
        before = len(await sim.calls("GET"))
        assert (await provider.status(ref)).exit_code == 5
        assert len(await sim.calls("GET")) == before
        await provider.aclose()
