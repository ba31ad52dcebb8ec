"""One simulated Nosana for all tests of this folder, with empty books for each."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from simulators.nosana.state import Books
from tests.providers.nosana.conftest import Sim, simulated


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sim]:
    async with simulated(tmp_path_factory.mktemp("nosana")) as running:
        yield running


@pytest.fixture
def sim(network: Sim) -> Sim:
    network.world.network.books = Books()
    return network
