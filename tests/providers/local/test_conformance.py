"""The local provider keeps the contract, in a sandbox and without one."""

from pathlib import Path

import pytest

from providers.base import Provider
from providers.conformance import ProviderConformance
from providers.local import LocalConfig, LocalProvider


class _Local(ProviderConformance):
    isolation: str

    @pytest.fixture(autouse=True)
    def _state(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    async def make_provider(self) -> Provider[LocalConfig]:
        config = LocalConfig.model_validate(
            {"state_dir": self.state_dir, "isolation": self.isolation, "stop_grace": "0.7s"}
        )
        provider = LocalProvider("local", config)
        await provider.initialize()
        return provider


class TestBare(_Local):
    isolation = "none"


@pytest.mark.usefixtures("bubblewrap")
class TestSandboxed(_Local):
    isolation = "bubblewrap"
