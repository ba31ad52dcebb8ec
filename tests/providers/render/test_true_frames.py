"""Blender behind the simulated networks: what comes back over their APIs are true pictures."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from cortex.domain.ids import lease_key, new_id
from cortex.domain.rendering.frames import FrameState
from cortex.domain.spec import JobSpec
from providers.conformance import eventually, size_of
from providers.registry import AnyProvider
from providers.render import RenderConfig
from providers.render.gateway import Gateway
from simulators.render.settings import TOKEN
from tests.providers.render.network import Network, simulated


@pytest_asyncio.fixture
async def network(blend: Path, tmp_path: Path) -> AsyncIterator[Network]:
    async with simulated(tmp_path, stand_in=False) as net:
        shutil.copy(blend, net.folder / "scenes" / "scene.blend")
        yield net


async def check(provider: AnyProvider, network: Network, folder: Path) -> None:
    section = {
        "scene": f"{network.site}/scenes/scene.blend",
        "frames": "1,12",
        "chunk": 2,
        "samples": 1,
        "resolution": {"width": 64, "height": 36},
    }
    spec = JobSpec.model_validate({"render": section})
    ref = (await provider.submit(spec, lease_key(new_id("job"), 1))).ref

    async def over() -> bool:
        return (await provider.status(ref)).state.final

    await eventually(over, timeout=60, what="the end")
    last = await provider.status(ref)
    assert last.exit_code == 0, [line.text async for line in provider.logs(ref)]
    assert {frame.state for frame in last.frames} == {FrameState.DONE}
    written = await provider.outputs(ref, ("frames",), folder / "out")
    pictures = [folder / "out" / path for path in written]
    assert [size_of(path) for path in pictures] == [(64, 36)] * 2
    assert pictures[0].read_bytes() != pictures[1].read_bytes()
    # With an alpha channel, as Blender writes them; what stands in for it has none.
    assert [path.read_bytes()[25] for path in pictures] == [6, 6]
    await provider.aclose()


async def test_dispersed(network: Network, tmp_path: Path) -> None:
    await check(await network.dispersed(), network, tmp_path)


async def test_gateway(network: Network, tmp_path: Path) -> None:
    config = RenderConfig.model_validate(
        {"driver": "gateway", "url": network.url, "token": TOKEN, "state_dir": tmp_path / "state"}
    )
    provider = Gateway("render", config)
    await provider.initialize()
    await check(provider, network, tmp_path)
