"""What becomes of leases: traps of the network, and what users are told."""

from decimal import Decimal

import httpx
import pytest

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.states import RunState
from providers.akash import AkashProvider
from providers.conformance import eventually
from providers.errors import LeaseLost, Unavailable
from tests.providers.akash.conftest import MakeNet, Net, spec

FOREVER = "echo ready; exec sleep 600"


async def running(akash: AkashProvider, lease: str, script: str = FOREVER) -> LeaseRef:
    ref = (await akash.submit(spec(script), lease)).ref
    await until(akash, ref, RunState.RUNNING)
    return ref


async def until(akash: AkashProvider, ref: LeaseRef, state: RunState) -> LeaseSnapshot:
    async def there() -> LeaseSnapshot | None:
        snapshots = await akash.statuses([ref])
        return snapshots[0] if snapshots and snapshots[0].state is state else None

    snapshot = await eventually(there, timeout=15, what=f"{state} of {ref.key}")
    assert snapshot is not None
    return snapshot


async def released(net: Net, akash: AkashProvider, ref: LeaseRef) -> None:
    """After `cancel` nothing costs money, and the bills agree to the last digit."""
    await akash.cancel(ref)
    assert ref.key not in await net.alive()
    usage = await akash.usage(ref)
    bill = await net.bill(ref.key)
    assert usage.final
    assert bill["final"]
    assert Decimal(bill["amount"]) == usage.cost.amount


class TestLost:
    async def test_a_provider_that_closes_leaves_the_deployment_active(
        self, net: Net, lease: str
    ) -> None:
        akash = await net.provider()
        ref = await running(akash, lease)
        await net.act("lose_lease", key=lease, reason="lease_closed_reason_decommission")
        snapshot = await until(akash, ref, RunState.LOST)
        assert "provider.europe.example.org runs it no more" in snapshot.message
        assert "the provider is shut down" in snapshot.message
        assert lease in await net.alive()  # its escrow is still locked
        assert [ref.key for ref in await akash.owned()] == [lease]
        await released(net, akash, ref)

    async def test_an_escrow_that_ran_dry(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await running(akash, lease)
        await net.act("drain_funds", key=lease)
        snapshot = await until(akash, ref, RunState.LOST)
        assert "escrow of the deployment ran dry" in snapshot.message
        assert lease not in await net.alive()
        await released(net, akash, ref)

    async def test_an_answer_that_is_missing_says_nothing(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await running(akash, lease)
        await net.act("flap", times=1)
        assert await akash.statuses([ref]) == []
        await net.act("flap", times=1)
        with pytest.raises(Unavailable):
            await akash.status(ref)
        assert (await akash.status(ref)).state is RunState.RUNNING

    async def test_a_provider_that_is_gone_is_given_up_in_time(self, net: Net, lease: str) -> None:
        akash = await net.provider(dark_after="0.5s")
        ref = await running(akash, lease)
        await net.act("provider_dies", key=lease)
        assert await akash.statuses([ref]) == []
        snapshot = await until(akash, ref, RunState.LOST)
        assert "has not answered for" in snapshot.message
        await released(net, akash, ref)

    async def test_a_provider_that_comes_back(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await running(akash, lease)
        await net.act("provider_offline", key=lease)
        assert await akash.statuses([ref]) == []
        await net.act("provider_online", key=lease)
        assert (await until(akash, ref, RunState.RUNNING)).message == ""

    async def test_a_provider_that_will_leave(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await running(akash, lease)
        await net.act("reclaim", key=lease, seconds=3600)
        snapshot = await akash.status(ref)
        assert snapshot.state is RunState.RUNNING
        assert "takes its machine back at 20" in snapshot.message

    async def test_closed_in_the_console_by_hand(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await running(akash, lease)
        await net.world.close(net.world.book.deployments[ref.network_id])
        assert "closed by this account" in (await until(akash, ref, RunState.LOST)).message
        with pytest.raises(LeaseLost):
            await akash.outputs(ref, ["x"], net.world.folder)

    async def test_twenty_details_are_not_read_when_the_list_will_do(
        self, net: Net, lease: str
    ) -> None:
        akash = await net.provider()
        ref = await running(akash, lease)
        path = f"/v1/deployments/{ref.network_id}"
        before = await net.calls("GET", path)
        others = [LeaseRef(key=lease, network_id=f"none-{i}") for i in range(5)]
        for _ in range(3):
            snapshots = await akash.statuses([ref, *others])
            assert snapshots[0].state is RunState.RUNNING
        assert await net.calls("GET", path) == before


class TestContainers:
    async def test_an_image_that_cannot_be_pulled(self, net: Net, lease: str) -> None:
        """At once, not after `ready_within`: waiting would not help."""
        akash = await net.provider()
        job = spec("true", image="lab/no-such-image:1")
        ref = (await akash.submit(job, lease)).ref
        snapshot = await until(akash, ref, RunState.LOST)
        assert "the image cannot be pulled there" in snapshot.message
        assert snapshot.unfit
        assert "lab/no-such-image:1" in snapshot.message
        await released(net, akash, ref)

    async def test_one_that_never_comes_up(self, make_net: MakeNet, lease: str) -> None:
        net = await make_net(ready_delay=600)
        akash = await net.provider(ready_within="1s")
        ref = (await akash.submit(spec("true"), lease)).ref
        message = (await until(akash, ref, RunState.LOST)).message
        assert message.startswith("the container did not come up at provider ")
        await released(net, akash, ref)

    async def test_a_service_that_keeps_failing_is_closed_by_its_provider(
        self, make_net: MakeNet, lease: str
    ) -> None:
        net = await make_net(unstable_after=0.5, restart_delay=0.1)
        akash = await net.provider()
        job = spec("exit 1", kind="service", ports=[{"port": 8080}])
        ref = (await akash.submit(job, lease)).ref
        snapshot = await until(akash, ref, RunState.LOST)
        assert "its container kept failing" in snapshot.message
        (held,) = net.world.book.deployments[ref.network_id].leases
        assert set(held.exits) == {1}
        assert len(held.exits) >= 2  # it was started again, whatever its code
        assert net.world.book.deployments[ref.network_id].state == "active"
        await released(net, akash, ref)

    async def test_a_command_runs_once_though_its_container_is_killed(
        self, net: Net, lease: str
    ) -> None:
        """As the kernel does when memory runs out; Kubernetes starts it again."""
        akash = await net.provider()
        ref = await running(akash, lease)

        async def began() -> bool:
            return "ready" in [line.text async for line in akash.logs(ref)]

        # A pod runs before its command does; one that was killed before would begin it afterwards.
        await eventually(began, what="a word of the command")
        await net.act("kill_container", key=lease)
        snapshot = await until(akash, ref, RunState.EXITED)
        assert snapshot.exit_code == 137
        assert "the container was restarted" in snapshot.message
        lines = [line.text async for line in akash.logs(ref)]
        assert "ready" not in lines
        (held,) = net.world.book.deployments[ref.network_id].leases
        assert held.pod == 1

    async def test_what_the_runner_said_survives_in_the_guard(self, net: Net, lease: str) -> None:
        """The command had ended before its container was killed: its code is told again."""
        akash = await net.provider()
        ref = (await akash.submit(spec("exit 6"), lease)).ref
        await until(akash, ref, RunState.EXITED)
        await net.act("kill_container", key=lease)
        other = await net.provider()

        async def told() -> bool:
            (held,) = net.world.book.deployments[ref.network_id].leases
            snapshots = await other.statuses([ref])
            return held.pod == 1 and bool(snapshots) and snapshots[0].exit_code == 6

        await eventually(told, what="exit code 6 from the second container")

    async def test_ports_are_reached_under_their_urls(
        self, net: Net, lease: str, free_port: int
    ) -> None:
        akash = await net.provider()
        serve = f"echo hello > index.html; exec python3 -m http.server -b 127.0.0.1 {free_port}"
        ports = [
            {"port": free_port},
            {"port": 5432, "name": "tcp-db"},
            {"port": 9, "public": False},
        ]
        ref = (await akash.submit(spec(serve, kind="service", ports=ports), lease)).ref
        snapshot = await until(akash, ref, RunState.RUNNING)
        urls = {endpoint.port: endpoint.url for endpoint in snapshot.endpoints}
        assert urls == {
            free_port: f"http://127.0.0.1:{free_port}",
            5432: "tcp://127.0.0.1:5432",
        }
        async with httpx.AsyncClient() as client:

            async def answers() -> bool:
                try:
                    return (await client.get(urls[free_port])).text == "hello\n"
                except httpx.ConnectError:
                    return False

            await eventually(answers, what="the service")
        at_network = await (await net.provider()).find(lease)
        assert at_network is not None  # also the port is known from the network alone
        assert (await akash.status(at_network.ref)).endpoints == snapshot.endpoints

    async def test_text_reaches_the_command_as_it_is(self, net: Net, lease: str) -> None:
        """Kubernetes would put variables into it."""
        akash = await net.provider()
        odd = "$(PLAIN) $$(PLAIN) $$ $PLAIN $"
        job = spec("", command=("printf", "%s|%s|", odd), env={"PLAIN": "x"}, args=("$$$$",))
        ref = (await akash.submit(job, lease)).ref
        await until(akash, ref, RunState.EXITED)
        assert [line.text async for line in akash.logs(ref)] == [f"{odd}|$$$$|"]
