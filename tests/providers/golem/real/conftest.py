"""One real daemon for all tests of this folder, with one provider on its other side."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from providers.golem import GolemConfig, GolemProvider
from tests.providers.golem.real.agent import Agent
from tests.providers.golem.real.chain import FakeChain
from tests.providers.golem.real.daemon import PLATFORM, Daemon, running_daemon, yagna_binary

IMAGE = "cortex/test:1"
PACKAGE = f"hash:sha3:{'0' * 56}:http://127.0.0.1/test.gvmi"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    if yagna_binary() is None:
        pytest.skip("the daemon is not installed: `make dev` installs it from the wheel golem-node")
    # A short path: the daemon's socket lies in it.
    folder = tmp_path_factory.mktemp("yagna")
    with FakeChain() as chain:
        async with running_daemon(folder, chain) as made:
            yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def agent(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    made = Agent(daemon, tmp_path_factory.mktemp("guest"))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def settings(daemon: Daemon, **changes: Any) -> GolemConfig:
    """A provider's configuration for this daemon."""
    fields: dict[str, Any] = {
        "url": daemon.url,
        "app_key": daemon.requestor_key,
        "payment_platform": PLATFORM,
        "subnet": "cortex-test",
        "stats_url": "",
        "usd_rate": "0.25",
        "registry_url": "",
        "images": {IMAGE: PACKAGE},
        "collect_for": 0.2,
        "negotiation_timeout": 20,
        "scan_for": 3,
        "invoice_wait": 20,
    }
    return GolemConfig.model_validate({**fields, **changes})


@pytest_asyncio.fixture
async def provider(daemon: Daemon, agent: Agent) -> AsyncIterator[GolemProvider]:
    made = GolemProvider("golem-real", settings(daemon))
    await made.initialize()
    yield made
    await made.aclose()
    sys.stdout.write(f"{agent.told()}\n")  # it is shown if the test has failed


@pytest.fixture
def guest_folder(agent: Agent) -> Path:
    return agent.folder
