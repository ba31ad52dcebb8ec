"""What the render tests share; no process of theirs outlives them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from providers.render.dispersed import Dispersed
from tests.providers.render.network import Network, simulated
from tests.providers.render.support import make_scene, need_blender, painters


@pytest.fixture
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder; nothing that renders for it may outlive the test."""
    folder = tmp_path_factory.mktemp("renders")
    yield folder
    left = painters(folder)
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture(scope="session")
def blend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene made by Blender; the test is skipped where there is none."""
    need_blender()
    return make_scene(tmp_path_factory.mktemp("scenes") / "scene.blend")


@pytest_asyncio.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """The simulated network, with a stand-in for Blender."""
    async with simulated(tmp_path) as net:
        yield net


@pytest_asyncio.fixture
async def provider(network: Network) -> AsyncIterator[Dispersed]:
    """Dispersed, over the simulated network."""
    made = await network.dispersed()
    yield made
    await made.aclose()
