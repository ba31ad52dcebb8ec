"""The driver `gateway`, against the reference server of its contract."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import ValidationError

from cortex.domain.rendering.frames import FrameState
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance import RenderConformance, eventually
from providers.errors import AuthenticationFailed, InsufficientFunds, InvalidSpec, OutcomeUnknown
from providers.registry import AnyProvider
from providers.render import RenderConfig
from providers.render.gateway import Gateway
from simulators.render.settings import TOKEN
from tests.providers.render.network import Network, simulated
from tests.providers.render.support import ended, key, stand_in_scene


@pytest_asyncio.fixture
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with simulated(tmp_path_factory.mktemp("gateway")) as net:
        yield net


async def gateway(network: Network, **changes: Any) -> Gateway:
    config = {
        "driver": "gateway",
        "url": network.url,
        "token": TOKEN,
        "state_dir": network.folder / "state",
        "poll_interval": "0.5s",
    }
    made = Gateway("render", RenderConfig.model_validate({**config, **changes}))
    await made.initialize()
    return made


class TestGateway(RenderConformance):
    forgets = False
    checks_scenes = False

    @pytest.fixture(autouse=True)
    def _network(self, network: Network) -> None:
        self.network = network

    def scene(self, *, seconds: float = 0, fails: Mapping[int, int] | None = None) -> str:
        path = stand_in_scene(self.network.folder / "scenes", seconds=seconds, fails=fails)
        return f"{self.network.site}/scenes/{path.name}"

    async def make_provider(self) -> AnyProvider:
        return await gateway(self.network)


@pytest_asyncio.fixture
async def provider(network: Network) -> AsyncIterator[Gateway]:
    made = await gateway(network)
    yield made
    await made.aclose()


def spec(network: Network, frames: str = "1-2", **render: Any) -> JobSpec:
    scene = stand_in_scene(network.folder / "scenes", seconds=0.05)
    section = {"scene": f"{network.site}/scenes/{scene.name}", "frames": frames, **render}
    return JobSpec.model_validate({"render": section})


async def test_a_lost_answer_is_one_job(network: Network, provider: Gateway) -> None:
    lease, job = key(), spec(network)
    await network.fault(match="POST /v1/render-jobs", fault="drop_after")
    with pytest.raises(OutcomeUnknown):
        await provider.prepare(job, lease)
    at_network = await provider.find(lease)
    assert at_network is not None
    assert (await provider.prepare(job, lease)).ref == at_network.ref
    assert len(network.world.farm.jobs) == 1


async def test_the_same_key_for_another_job_is_refused(network: Network, provider: Gateway) -> None:
    lease = key()
    await provider.prepare(spec(network), lease)
    with pytest.raises(InvalidSpec, match="another body"):
        await provider.prepare(spec(network, "5"), lease)


async def test_the_bill_is_the_sum_of_the_frames(network: Network, provider: Gateway) -> None:
    ref = (await provider.submit(spec(network, "1-3"), key())).ref
    last = await ended(provider, ref)
    usage = await provider.usage(ref)
    assert usage.final
    costs = [frame.cost.amount for frame in last.frames if frame.cost]
    assert sum(costs) == usage.cost.amount > 0
    (bill,) = await network.world.bill()
    assert bill.amount == usage.cost.amount


async def test_an_offer_is_the_high_end_of_the_estimate(
    network: Network, provider: Gateway
) -> None:
    job = spec(network, "1-100")
    (offer,) = await provider.quote(job)
    # 100 frames of 0.05 OBh are 5 OBh; 200 of them cost a credit; the high end is twice that.
    assert abs(offer.estimate(job.duration).amount - Decimal("0.05")) < Decimal("0.000001")


async def test_files_are_what_the_gateway_says(
    network: Network, provider: Gateway, tmp_path: Path
) -> None:
    ref = (await provider.submit(spec(network), key())).ref
    await ended(provider, ref)
    written = await provider.outputs(ref, ("frames",), tmp_path)
    async with httpx.AsyncClient(
        base_url=network.url, headers={"authorization": f"Bearer {TOKEN}"}
    ) as client:
        frames = (await client.get(f"/v1/render-jobs/{ref.network_id}/frames")).json()["items"]
    told = {frame["output"]: frame["sha256"] for frame in frames}
    hashes = {str(p): hashlib.sha256((tmp_path / p).read_bytes()).hexdigest() for p in written}
    assert hashes == told


async def test_what_waits_for_approval_is_approved(network: Network, provider: Gateway) -> None:
    ref = (await provider.prepare(spec(network), key())).ref
    network.world.farm.jobs[ref.network_id].order.approval = "manual"

    async def waits() -> bool:
        return network.world.farm.jobs[ref.network_id].state == "awaiting_approval"

    await eventually(waits, what="the wait for approval")
    before = await provider.status(ref)
    assert before.state is RunState.RUNNING
    assert FrameState.DONE not in {frame.state for frame in before.frames}
    await provider.tend([ref])
    last = await ended(provider, ref)
    assert last.exit_code == 0
    assert {frame.state for frame in last.frames} == {FrameState.DONE}


async def test_no_funds(network: Network, provider: Gateway) -> None:
    ref = (await provider.prepare(spec(network), key())).ref
    job = network.world.farm.jobs[ref.network_id]
    await network.act("drain_funds")
    with pytest.raises(InsufficientFunds, match="no credit"):
        await provider.prepare(spec(network), key())
    job.state = "paused_funds"
    snapshot = await provider.status(ref)
    assert "needs credit" in snapshot.message
    await network.act("add_funds")
    assert (await ended(provider, ref)).exit_code == 0


async def test_wrong_token(network: Network) -> None:
    with pytest.raises(AuthenticationFailed, match="token"):
        await gateway(network, token="wrong")


def test_off_without_a_url() -> None:
    with pytest.raises(ValidationError, match="`url` and `token`"):
        RenderConfig.model_validate({"driver": "gateway"})
