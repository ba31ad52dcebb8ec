"""What a container engine cannot run is said by the capabilities, with the field's name."""

import pytest

from providers.docker import DockerProvider
from tests.providers.docker.conftest import IMAGE, Podman
from tests.support.demanding import compare, jobs

pytestmark = pytest.mark.integration


async def test_nothing_is_refused_that_was_let_through(
    provider: DockerProvider, podman: Podman
) -> None:
    said, late = await compare(provider, jobs(IMAGE))
    podman.run("volume", "rm", "cortex-a")  # a volume to keep outlives its job
    # Only the engine knows what an image brings.
    assert {name: why for name, why in late.items() if "no command of its own" not in why} == {}
    assert set(said) == {
        "2 GPUs",
        "25 GPUs",
        "UDP",
        "a GPU of AMD",
        "a volume at the root",
        "an image that is no reference",
    }
