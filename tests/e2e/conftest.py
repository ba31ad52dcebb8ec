"""One whole stack for all tests here, the command as processes, and specs of small jobs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.support import Command
from tests.support.stack import Stack, running_stack, short_folder

# A frozen worker is given up after these, and what was ended by hand is found after those: no test
# waits long for it.
_SETTINGS = {
    "CORTEX_JOBS__HEARTBEAT_TIMEOUT": "8s",
    "CORTEX_MONITOR__HEARTBEAT_TIMEOUT": "8s",
    "CORTEX_RECONCILE__EVERY": "15s",
    "CORTEX_RECONCILE__GRACE": "5s",
}


@pytest.fixture(scope="session")
def e2e_folder() -> Iterator[Path]:
    with short_folder("ctx-e2e-") as folder:
        yield folder


@pytest.fixture(scope="session")
async def stack(e2e_folder: Path) -> AsyncIterator[Stack]:
    """A stack that tests of one process share, one after the other."""
    async with running_stack(e2e_folder, _SETTINGS) as running:
        yield running


@pytest.fixture
def cortex(stack: Stack) -> Command:
    """The `cortex` command, pointed at the stack's data folder."""
    return Command(stack.config.data_dir)


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP: no retries, every answer as it came."""
    headers = {"X-API-Key": stack.config.api_key}
    async with httpx.AsyncClient(
        base_url=stack.config.api_url, headers=headers, timeout=30
    ) as client:
        yield client
