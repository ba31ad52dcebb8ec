"""The conformance suite on the simulated market."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest_asyncio

from providers.conformance import ProviderConformance
from providers.golem import GolemProvider
from tests.providers.golem.conftest import IMAGE, settings, simulated


class TestGolemConformance(ProviderConformance):
    fixed_prices: ClassVar[bool] = False
    forgets: ClassVar[bool] = False
    image: ClassVar[str | None] = IMAGE

    @pytest_asyncio.fixture(scope="class", loop_scope="session", autouse=True)
    async def network(
        self, tmp_path_factory: "Path", request: object
    ) -> AsyncIterator[None]:
        async with simulated(tmp_path_factory.mktemp("golem")) as sim:
            type(self).sim_url = sim.url
            yield

    async def make_provider(self) -> GolemProvider:
        assert self.sim_url is not None
        provider = GolemProvider("golem-sim", settings(self.sim_url))
        await provider.initialize()
        return provider
