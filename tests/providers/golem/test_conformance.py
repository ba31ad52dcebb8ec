"""The conformance suite on the simulated market."""

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
import pytest_asyncio

from providers.conformance import ProviderConformance
from providers.golem import GolemProvider
from tests.providers.golem.conftest import IMAGE, settings, simulated


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def market(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with simulated(tmp_path_factory.mktemp("golem")) as sim:
        yield sim.url


class TestGolemConformance(ProviderConformance):
    fixed_prices: ClassVar[bool] = False
    forgets: ClassVar[bool] = False
    image: ClassVar[str | None] = IMAGE

    @pytest.fixture(autouse=True)
    def _network(self, market: str) -> None:
        self.sim_url = market

    async def make_provider(self) -> GolemProvider:
        assert self.sim_url is not None
        provider = GolemProvider("golem-sim", settings(self.sim_url))
        await provider.initialize()
        return provider
