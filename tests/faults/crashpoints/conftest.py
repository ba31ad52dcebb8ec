"""Servers and lanes for the enumeration of crash points, started once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cortex.embedded.config import StackConfig
from tests.faults.crashpoints.house import House, Lane, open_house
from tests.faults.report import full

# A run waits more than it works: for a heartbeat that does not come, and for the networks.
_LANES = 5 if full() else 3


@pytest.fixture(scope="session")
async def house(postgres: StackConfig, short_tmp: Path) -> AsyncIterator[House]:
    folder = short_tmp / "crashpoints"
    folder.mkdir()
    async with open_house(postgres, folder) as opened:
        yield opened


@pytest.fixture(scope="session")
async def lanes(house: House) -> AsyncIterator[list[Lane]]:
    opened = house.lanes(_LANES)
    yield opened
    for lane in opened:
        await lane.aclose()
