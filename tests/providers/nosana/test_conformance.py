"""The conformance suite on the simulated network."""

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
import pytest_asyncio

from providers.conformance import ProviderConformance
from providers.nosana import NosanaProvider
from tests.providers.nosana.conftest import Sim, simulated


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sim]:
    async with simulated(tmp_path_factory.mktemp("nosana")) as running:
        yield running


class TestNosanaConformance(ProviderConformance):
    fixed_prices: ClassVar[bool] = False
    live_logs: ClassVar[bool] = False
    reserves: ClassVar[bool] = False
    last_words: ClassVar[bool] = False
    image: ClassVar[str | None] = "docker.io/library/debian:stable-slim"

    @pytest.fixture(autouse=True)
    def _network(self, network: Sim) -> None:
        self.network = network
        self.sim_url = network.url

    async def make_provider(self) -> NosanaProvider:
        return await self.network.provider()
