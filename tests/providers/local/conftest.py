"""Local providers over a folder of the test; nothing of them is alive afterwards."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from providers.local import LocalConfig, LocalProvider
from providers.local._sandbox import find_bubblewrap

STOP_GRACE = timedelta(seconds=0.7)


@pytest.fixture(scope="session")
def bubblewrap() -> Path:
    """A bwrap that works here, or the test is skipped."""
    path, problem = find_bubblewrap()
    if path is None:
        pytest.skip(problem)
    return path


@pytest.fixture
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder; no process that names it may outlive the test."""
    folder = tmp_path_factory.mktemp("leases")
    yield folder
    leftovers = [process for process in psutil.process_iter() if _belongs(process, folder)]
    # What a test itself has killed may take a moment to be gone.
    leftovers = psutil.wait_procs(leftovers, timeout=3)[1]
    for process in leftovers:
        process.kill()
    assert leftovers == []


@pytest_asyncio.fixture
async def local(state_dir: Path) -> AsyncIterator[LocalProvider]:
    """A provider without isolation; its leases are ended after the test."""
    provider = LocalProvider(
        "local", LocalConfig(state_dir=state_dir, isolation="none", stop_grace=STOP_GRACE)
    )
    await provider.initialize()
    yield provider
    await asyncio.gather(*(provider.forget(ref) for ref in await provider.owned()))
    await provider.aclose()


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(str(folder) in word for word in process.cmdline()) or str(folder) in (
            process.cwd()
        )
    except psutil.Error:
        return False
