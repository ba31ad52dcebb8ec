"""The price of the node that takes a job at Dispersed: a quote does not bind there."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance import eventually
from providers.errors import LeaseLost, NoCapacity, OutcomeUnknown
from providers.render.api import DispersedApi
from providers.render.assigned import Assigned, Assignment
from providers.render.dispersed import Dispersed
from providers.render.signing import Keys
from providers.render.wire import WireJob, WireRun
from tests.providers.render.network import Network, simulated
from tests.providers.render.support import key, stand_in_scene

UUID = "11111111-2222-3333-4444-555555555555"
DEAR = "a node (6 x RTX 3090) at 4.14 USD per hour, 0.31 USD per hour were quoted"


def spec(script: str = "sleep 60", **changes: Any) -> JobSpec:
    usual = {"image": "cortex/runner:1", "command": ("sh", "-c", script)}
    return JobSpec.model_validate({**usual, **changes})


async def alive(network: Network) -> list[str]:
    return [lease.key for lease in await network.world.leases() if lease.alive]


async def ends_as_billed(network: Network, provider: Dispersed, lease: str) -> Decimal:
    """What the lease cost, by the adapter and by the network."""
    at_network = await provider.find(lease)
    assert at_network is not None
    assert not at_network.committed
    await provider.cancel(at_network.ref)
    usage = await provider.usage(at_network.ref)
    (bill,) = [bill for bill in await network.world.bill() if bill.key == lease]
    assert usage.final
    assert usage.cost.amount == bill.amount
    return bill.amount


class TestADearNode:
    async def test_it_is_given_up_within_a_minutes_price(
        self, network: Network, provider: Dispersed
    ) -> None:
        lease, offers = key(), await provider.quote(spec())
        await network.act("assign_dearer")
        with pytest.raises(NoCapacity) as error:
            await provider.prepare(spec(), lease, offer=offers[0])
        assert DEAR in str(error.value)
        assert await alive(network) == []
        cost = await ends_as_billed(network, provider, lease)
        assert cost < (network.world.settings.dearer_hourly - Decimal("0.31")) / 60

    async def test_the_next_offer_is_another_node(
        self, network: Network, provider: Dispersed
    ) -> None:
        job, offers = spec("exit 7"), await provider.quote(spec())
        await network.act("assign_dearer")
        with pytest.raises(NoCapacity):
            await provider.prepare(job, key(), offer=offers[0])
        made = await provider.prepare(job, key(), offer=offers[1])
        assert made.price_per_hour is not None
        assert made.price_per_hour.amount == Decimal("0.31")
        ref = (await provider.commit(made)).ref

        async def over() -> bool:
            return (await provider.status(ref)).exit_code == 7

        await eventually(over, timeout=20, what="the end")

    async def test_while_its_container_runs(self, network: Network, provider: Dispersed) -> None:
        """The run has begun before the price is looked at: what it cost is billed, and no more."""
        ref = (await provider.prepare(spec(), key())).ref
        taken = network.world.book.jobs[ref.network_id]

        async def runs() -> bool:
            return network.world.owed(taken) > 0

        await eventually(runs, timeout=60, what="the container")
        taken.hourly, taken.hardware = Decimal("4.14"), {"gpu_name": "RTX 3090", "gpu_count": 6}
        with pytest.raises(NoCapacity, match="4.14"):
            await provider.prepare(spec(), ref.key)
        assert await alive(network) == []
        assert await ends_as_billed(network, provider, ref.key) > 0

    async def test_a_limit_of_the_job_counts_without_an_offer(
        self, network: Network, provider: Dispersed
    ) -> None:
        with pytest.raises(NoCapacity, match=r"`max_price` leaves 0\.3 USD per hour"):
            await provider.prepare(spec(placement={"max_price": "0.30 USD"}), key())
        assert await alive(network) == []
        made = await provider.prepare(spec(placement={"max_price": "0.31 USD"}), key())
        await provider.cancel(made.ref)

    async def test_told_by_the_job_itself(self, tmp_path: Path) -> None:
        async with simulated(tmp_path, price_told="job") as network:
            provider = await network.dispersed()
            await network.act("assign_dearer")
            with pytest.raises(NoCapacity, match="4.14"):
                await provider.prepare(spec(), key())
            await provider.aclose()

    async def test_told_nowhere_the_bill_says_so(self, tmp_path: Path) -> None:
        async with simulated(tmp_path, price_told="nowhere", dearer_every=1) as network:
            provider = await network.dispersed()
            ref = (await provider.submit(spec("sleep 12"), key())).ref

            async def over() -> bool:
                return (await provider.status(ref)).state.final

            await eventually(over, timeout=40, what="the end")
            usage = await provider.usage(ref)
            assert usage.detail["source"].startswith("ledger (about 4.")
            assert usage.detail["source"].endswith("USD per hour, 0.31 were quoted)")
            await provider.aclose()


class TestCrashes:
    async def test_after_the_job_was_taken(self, network: Network, provider: Dispersed) -> None:
        """The answer is lost and the process with it: the next one looks at the price."""
        lease = key()
        await network.act("assign_dearer")
        await network.fault(match="POST /v1/jobs", fault="drop_after")
        with pytest.raises(OutcomeUnknown):
            await provider.prepare(spec(), lease)
        at_network = await provider.find(lease)
        assert at_network is not None
        assert not at_network.reserved
        other = await network.dispersed()
        with pytest.raises(NoCapacity, match="4.14"):
            await other.prepare(spec(), lease)
        assert await alive(network) == []
        assert await network.calls("POST", "/v1/jobs") == 1
        await other.aclose()

    async def test_between_the_end_and_its_telling(
        self, network: Network, provider: Dispersed
    ) -> None:
        """The step begins anew when the dear node is given up already: the same answer."""
        lease = key()
        await network.act("assign_dearer")
        for _ in range(2):
            with pytest.raises(NoCapacity, match="4.14"):
                await provider.prepare(spec(), lease)
        assert await network.calls("POST", "/v1/jobs") == 1

    @pytest.mark.parametrize("fault", ["drop_after", "drop_before", "error_before", "malformed"])
    async def test_a_cancel_that_is_lost_is_asked_for_again(
        self, network: Network, provider: Dispersed, fault: str
    ) -> None:
        await network.act("assign_dearer")
        await network.fault(match="PUT /v1/jobs/*/cancel", fault=fault, retry_after=0.1)
        with pytest.raises(NoCapacity, match="4.14"):
            await provider.prepare(spec(), key())
        assert await alive(network) == []

    async def test_a_stop_while_it_waits_for_a_node(
        self, network: Network, provider: Dispersed
    ) -> None:
        lease = key()
        await network.act("sell_out")
        task = asyncio.create_task(provider.prepare(spec(), lease))

        async def there() -> bool:
            return bool(await alive(network))

        await eventually(there, what="the job")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await ends_as_billed_nothing(network, provider, lease)


async def ends_as_billed_nothing(network: Network, provider: Dispersed, lease: str) -> None:
    at_network = await provider.find(lease)
    assert at_network is not None
    await provider.cancel(at_network.ref)
    assert await alive(network) == []
    usage = await provider.usage(at_network.ref)
    assert usage.final
    assert usage.cost.amount == 0


class TestNoNode:
    async def test_the_network_gives_it_up(self, network: Network, provider: Dispersed) -> None:
        lease = key()
        await network.act("sell_out")
        task = asyncio.create_task(provider.prepare(spec(), lease))

        async def there() -> bool:
            return bool(await alive(network))

        await eventually(there, what="the job")
        await network.act("lose_lease", key=lease)
        with pytest.raises(NoCapacity, match="no node took the job"):
            await task
        await ends_as_billed_nothing(network, provider, lease)

    async def test_nor_in_the_time_that_is_set(self, network: Network, provider: Dispersed) -> None:
        """The network was to give it up by itself; it is not waited for without end."""
        await network.act("sell_out")
        lease = key()
        task = asyncio.create_task(provider.prepare(spec(), lease))

        async def there() -> bool:
            return bool(await alive(network))

        await eventually(there, what="the job")
        at_network = await provider.find(lease)
        assert at_network is not None
        jobs = [WireJob(uuid=at_network.ref.network_id, status="PENDING")]
        impatient = Assignment(provider._api, timedelta(seconds=-60))
        with pytest.raises(NoCapacity, match="no node took the job within"):
            await impatient.agreed(jobs, _silent)
        await asyncio.gather(task, return_exceptions=True)
        assert await alive(network) == []

    async def test_one_that_somebody_else_has_cancelled(
        self, network: Network, provider: Dispersed
    ) -> None:
        ref = (await provider.prepare(spec(), key())).ref
        await provider.cancel(ref)
        with pytest.raises(LeaseLost):
            await provider.submit(spec(), ref.key)


class TestChunks:
    async def test_a_chunk_that_a_dear_node_takes_later(
        self, network: Network, provider: Dispersed
    ) -> None:
        scene = stand_in_scene(network.folder / "scenes", seconds=1)
        render = {"scene": f"{network.site}/scenes/{scene.name}", "frames": "1-40", "chunk": 20}
        job = JobSpec.model_validate({"render": render})
        made = await provider.prepare(job, key())
        last = network.world.book.jobs[made.ref.data["jobs"].split()[-1]]

        async def taken() -> bool:
            return last.assigned

        await eventually(taken, timeout=60, what="a node for the last chunk")
        last.hourly, last.hardware = Decimal("4.14"), {"gpu_name": "RTX 3090", "gpu_count": 6}
        ref = (await provider.commit(made)).ref

        async def given_up() -> str:
            snapshot = await provider.status(ref)
            return snapshot.message if snapshot.state is RunState.LOST else ""

        why = await eventually(given_up, timeout=60, what="the end")
        assert DEAR in str(why)
        await provider.cancel(ref)
        assert await alive(network) == []

    async def test_a_limit_is_shared_by_its_chunks(
        self, network: Network, provider: Dispersed
    ) -> None:
        render = {"scene": "https://host/a.blend", "frames": "1-4", "chunk": 1}
        job = JobSpec.model_validate({"render": render, "placement": {"max_price": "1.2 USD"}})
        with pytest.raises(NoCapacity, match=r"`max_price` leaves 0\.3 USD"):
            await provider.prepare(job, key())
        assert await alive(network) == []


async def _silent(_message: str) -> None:
    return None


def job(**fields: Any) -> WireJob:
    usual = {
        "uuid": UUID,
        "status": "ASSIGNED",
        "description": "submitted by Cortex at 0.35 USD per hour, at most 0.5 USD per hour",
    }
    return WireJob.model_validate({**usual, **fields})


class TestWhatIsTold:
    @pytest.mark.parametrize(
        "told",
        [None, "dear", "", [], {}, {"hourly_rate_usd": None}, {"hourly_rate_usd": "NaN"},
         {"hourly_rate_usd": -1}, {"hourly_rate_usd": {}}, {"hourly_rate_usd": True}],
    )  # fmt: skip
    def test_what_is_no_price_spoils_nothing(self, told: Any) -> None:
        assigned = Assigned(
            job(pricing=told), WireRun.model_validate({"uuid": UUID, "pricing": told})
        )
        assert assigned.rate is None
        assert assigned.objection == ""

    def test_the_run_comes_before_the_job(self) -> None:
        run = WireRun.model_validate({"uuid": UUID, "hourly_rate_usd": 0.36})
        assigned = Assigned(job(pricing={"hourly_rate_usd": "0.1"}), run)
        assert assigned.rate == Decimal("0.36")
        assert assigned.objection == (
            "the network assigned a node at 0.36 USD per hour, 0.35 USD per hour were quoted"
        )

    @pytest.mark.parametrize("rate", ["0.35", "0.350", 0.35, "0.2", 0])
    def test_at_the_quote_or_below(self, rate: Any) -> None:
        assert Assigned(job(hourly_rate_usd=rate)).objection == ""

    async def test_a_network_that_is_away_is_an_unknown_outcome(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(500, text="<html>gateway</html>")

        api = DispersedApi(
            "http://network",
            Keys("pk", b"sk"),
            timeout=timedelta(seconds=1),
            transport=httpx.MockTransport(away),
        )
        monkeypatch.setattr("providers.render.assigned._TROUBLE", timedelta(seconds=0.3))
        with pytest.raises(OutcomeUnknown):
            await Assignment(api, timedelta(minutes=5)).agreed([job()], _silent)
        await api.aclose()
