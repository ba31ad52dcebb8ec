"""What is Nosana's own: its key, ends that come late, nodes that die, how often it is called."""

from datetime import timedelta
from decimal import Decimal

import pytest
from pydantic import SecretStr, ValidationError

from cortex.domain.states import RunState
from providers.conformance import eventually
from providers.errors import (
    AuthenticationFailed,
    Unavailable,
)
from providers.nosana import NosanaConfig, NosanaProvider
from tests.providers.nosana.conftest import Sim
from tests.providers.nosana.support import ended, job, new_key, running


class TestKey:
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
