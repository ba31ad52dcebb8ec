"""The provider contract, against the simulated network, behind either Console."""

from typing import ClassVar

import pytest_asyncio

from providers.conformance import ProviderConformance
from providers.registry import AnyProvider
from tests.providers.akash.conftest import MakeNet


class TestAkash(ProviderConformance):
    fixed_prices = False
    forgets = False
    image = "busybox:1.36"
    extended: ClassVar[bool] = True

    @pytest_asyncio.fixture(autouse=True)
    async def _network(self, make_net: MakeNet) -> None:
        self.net = await make_net(extended=self.extended)
        self.sim_url = self.net.url

    async def make_provider(self) -> AnyProvider:
        return await self.net.provider()


class TestAkashBehindTheOlderConsole(TestAkash):
    extended = False
