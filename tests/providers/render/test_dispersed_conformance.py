"""The driver `dispersed` keeps the contract, for containers and for frames."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from api.drop import DropMiddleware
from providers.conformance import ProviderConformance, RenderConformance
from providers.dropbox import DropBox
from providers.registry import AnyProvider
from providers.render import RenderConfig
from providers.render.dispersed import Dispersed
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from simulators.render import RenderSettings, RenderWorld
from simulators.render.settings import PUBLIC_KEY, SECRET_KEY
from tests.providers.render.support import stand_in_scene

SECRET = b"the drop box of the tests"


class Network:
    """A simulated network, a drop box and a server of scenes."""

    def __init__(self, url: str, site: str, folder: Path) -> None:
        self.url, self.site, self.folder = url, site, folder

    async def provider(self) -> AnyProvider:
        config = RenderConfig.model_validate(
            {
                "driver": "dispersed",
                "url": self.url,
                "public_key": PUBLIC_KEY,
                "secret_key": SECRET_KEY,
                "blender_image": "cortex/blender:5",
                "state_dir": self.folder / "state",
                "poll_interval": "0.5s",
            }
        )
        made = Dispersed("render", config)
        made.drop = DropBox(self.site, SECRET)
        await made.initialize()
        return made


@pytest_asyncio.fixture
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    folder = tmp_path_factory.mktemp("dispersed")
    (folder / "scenes").mkdir()
    settings = RenderSettings(
        assign_delay=0.0, start_delay=0.0, tick=0.05, stop_grace=1.0, stand_in=True
    )
    runs = Runs(folder / "runs", grace=timedelta(seconds=0.1))
    world = RenderWorld(folder, Clock(), runs, settings)
    site = FastAPI()

    site.mount("/scenes", StaticFiles(directory=folder / "scenes"))

    async def arrived(_key: str, _name: str) -> None:
        return None

    drop = DropMiddleware(site, folder=folder / "drop", secret=SECRET, limit=10**8, arrived=arrived)
    async with serving(make_app(world)) as url, serving(drop) as address:
        yield Network(url, address, folder)
        for job in world.book.jobs.values():
            await runs.remove(job.run_uuid)


class TestContainers(ProviderConformance):
    fixed_prices = False
    forgets = False
    image = "cortex/runner:1"

    @pytest.fixture(autouse=True)
    def _network(self, network: Network) -> None:
        self.network, self.sim_url = network, network.url

    async def make_provider(self) -> AnyProvider:
        return await self.network.provider()


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
        return await self.network.provider()
