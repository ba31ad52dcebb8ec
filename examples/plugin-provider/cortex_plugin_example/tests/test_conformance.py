"""The queue keeps the contract of `providers.base`, also on a bad day."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from cortex_plugin_example.provider import QueueConfig, QueueProvider
from cortex_plugin_example.queue import QueueWorld
from providers.base import Provider
from providers.conformance import ProviderConformance
from providers.errors import AuthenticationFailed
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving

TOKEN = "let-me-in"


class TestQueue(ProviderConformance):
    """The whole suite against a queue that is served in this process."""

    partial_lines = False  # the queue tells whole lines

    @pytest_asyncio.fixture(autouse=True)
    async def _queue(self, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
        folder = tmp_path_factory.mktemp("queue")
        runs = Runs(folder / "runs", grace=timedelta(seconds=0.5))
        world = QueueWorld(folder, Clock(), runs, TOKEN)
        async with serving(make_app(world)) as url:
            self.sim_url = url
            yield

    async def make_provider(self) -> Provider[Any]:
        assert self.sim_url is not None
        config = QueueConfig(url=self.sim_url, token=SecretStr(TOKEN))
        provider = QueueProvider("queue", config)
        await provider.initialize()
        return provider

    async def test_a_wrong_token(self) -> None:
        assert self.sim_url is not None
        wrong = QueueProvider("queue", QueueConfig(url=self.sim_url, token=SecretStr("guess")))
        with pytest.raises(AuthenticationFailed):
            await wrong.initialize()
        await wrong.aclose()
