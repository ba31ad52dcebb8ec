"""Servers and lanes for the enumeration of crash points, started once."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from cortex.embedded.config import StackConfig
from tests.faults.crashpoints.house import House, Lane, open_house
from tests.faults.report import full

# A run waits more than it works: for a heartbeat that does not come, and for the networks.
_LANES = 5 if full() else 3

# A server of its own for each scenario where there are thousands of runs: it forgets none of them.
_SCOPE: Literal["function", "session"] = "function" if full() else "session"


@pytest.fixture(scope=_SCOPE)
async def house(postgres: StackConfig, short_tmp: Path) -> AsyncIterator[House]:
    folder = Path(tempfile.mkdtemp(prefix="crash-", dir=short_tmp))
    async with open_house(postgres, folder) as opened:
        yield opened


@pytest.fixture(scope=_SCOPE)
async def lanes(house: House) -> AsyncIterator[list[Lane]]:
    opened = house.lanes(_LANES)
    yield opened
    for lane in opened:
        await lane.aclose()
