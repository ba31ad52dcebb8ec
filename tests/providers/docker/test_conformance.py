"""The provider contract, against a real engine."""

from typing import Any

import pytest

from cortex.domain.spec import JobSpec
from providers.conformance import ProviderConformance
from providers.docker import DockerProvider
from providers.registry import AnyProvider
from tests.providers.docker.conftest import IMAGE, Podman, docker_config

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class TestDocker(ProviderConformance):
    @pytest.fixture(autouse=True)
    def _engine(self, podman: Podman) -> None:
        self.podman = podman

    async def make_provider(self) -> AnyProvider:
        provider = DockerProvider("docker", docker_config(self.podman))
        await provider.initialize()
        return provider

    def spec(self, script: str, **changes: Any) -> JobSpec:
        return super().spec(script, **{"image": IMAGE, **changes})
