"""The driver `dispersed` keeps the contract, for containers and for frames."""

from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from providers.conformance import ProviderConformance, RenderConformance
from providers.registry import AnyProvider
from tests.providers.render.network import Network, simulated
from tests.providers.render.support import stand_in_scene

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with simulated(tmp_path_factory.mktemp("dispersed")) as net:
        yield net


class TestContainers(ProviderConformance):
    fixed_prices = False
    forgets = False
    image = "cortex/runner:1"

    @pytest.fixture(autouse=True)
    def _network(self, network: Network) -> None:
        self.network, self.sim_url = network, network.url

    async def make_provider(self) -> AnyProvider:
        return await self.network.dispersed()


class TestFrames(RenderConformance):
    forgets = False
    checks_scenes = False

    @pytest.fixture(autouse=True)
    def _network(self, network: Network) -> None:
        self.network, self.sim_url = network, network.url

    def scene(self, *, seconds: float = 0, fails: Mapping[int, int] | None = None) -> str:
        path = stand_in_scene(self.network.folder / "scenes", seconds=seconds, fails=fails)
        return f"{self.network.site}/scenes/{path.name}"

    async def make_provider(self) -> AnyProvider:
        return await self.network.dispersed()
