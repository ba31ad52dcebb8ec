"""The driver `local` keeps the contract, with Blender and with what stands in for it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from providers.conformance import RenderConformance
from providers.registry import AnyProvider
from providers.render import RenderConfig, RenderProvider
from providers.render.local import LocalRender
from tests.providers.render.support import STAND_IN, stand_in_scene


class TestStandIn(RenderConformance):
    @pytest.fixture(autouse=True)
    def _folders(self, state_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.state_dir = state_dir
        self.scenes = tmp_path_factory.mktemp("scenes")

    def scene(self, *, seconds: float = 0, fails: Mapping[int, int] | None = None) -> str:
        return str(stand_in_scene(self.scenes, seconds=seconds, fails=fails))

    async def make_provider(self) -> AnyProvider:
        config = RenderConfig(driver="local", state_dir=self.state_dir, isolation="none")
        provider = LocalRender("render", config, painter=STAND_IN)
        await provider.initialize()
        return provider


class TestBlender(RenderConformance):
    """In a sandbox where the machine has one."""

    @pytest.fixture(autouse=True)
    def _folders(self, state_dir: Path, blend: Path) -> None:
        self.state_dir, self.blend = state_dir, blend

    def scene(self, *, seconds: float = 0, fails: Mapping[int, int] | None = None) -> str:
        if fails:
            pytest.skip("a true scene does not fail on request; test_local.py kills its process")
        return str(self.blend)

    async def make_provider(self) -> AnyProvider:
        config = RenderConfig(driver="local", state_dir=self.state_dir)
        provider = RenderProvider("render", config)
        await provider.initialize()
        return provider
