"""What all tests share: a real PostgreSQL and real Temporal servers, started once per worker."""

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from cortex.db.engine import Database
from cortex.db.migrate import migrate
from cortex.embedded.child import Child
from cortex.embedded.config import StackConfig
from cortex.embedded.postgres import create_database, postgres_service
from cortex.settings import DatabaseSettings
from tests.support import patience, temporal_program
from tests.support.byte_code import compile_share
from tests.support.databases import cheapen_passwords, fresh_database
from tests.support.tls import share_tls_context

share_tls_context()
gc.disable()  # while modules are loaded, of which nothing is given up again

# As Cortex sets it up itself: the default takes half a minute for the traceback of one error.
_renderer = structlog.dev.ConsoleRenderer(
    colors=False, exception_formatter=structlog.dev.plain_traceback
)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _renderer])

_SHARED_MEMORY = "/dev/shm"
_ROOM = 4 * 2**30
_DAEMON = Path(__file__).parent / "providers" / "golem" / "real"

# Nor may logins of tests get into the keyring of whoever runs them.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
# Settings of the machine must not leak into tests.
for _name in [name for name in os.environ if name.startswith("CORTEX_")]:
    if not _name.startswith(("CORTEX_REQUIRE_", "CORTEX_CONFORMANCE_", "CORTEX_FAULTS")):
        del os.environ[_name]


# Of the checks that every provider has to pass (`providers.conformance`, which knows no marks).
_SLOW_CHECKS = {
    "test_the_wicked_folder",
    "test_twenty_leases_at_once",
    "test_leasing_on_a_bad_day",
    "test_cancelling_on_a_bad_day",
}


def pytest_collection(session: pytest.Session) -> None:
    compile_share(session.config)


def pytest_collection_finish() -> None:
    """What is loaded now stays to the end: a million objects that no collection need look at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if getattr(item, "originalname", item.name) in _SLOW_CHECKS or _DAEMON in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A folder with a short path (sockets), readable for the user that PostgreSQL runs as.

    In memory where there is room: a database for each test is mostly the making of files.
    """
    with tempfile.TemporaryDirectory(prefix="ctx-", dir=_memory()) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def _memory() -> str | None:
    """The machine's file system in memory; None if it has none, or a small one."""
    try:
        free = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return None
    return _SHARED_MEMORY if free > _ROOM and os.access(_SHARED_MEMORY, os.W_OK) else None


@pytest.fixture(scope="session")
async def postgres(short_tmp: Path) -> AsyncIterator[StackConfig]:
    """A PostgreSQL server with a migrated template database."""
    config = StackConfig.free(short_tmp / "pg")
    config.save()
    service = postgres_service(config)
    child = Child(service, run_dir=config.run_dir, logs_dir=config.logs_dir)
    if service.prepare is not None:
        await service.prepare()
    child.spawn()
    try:
        await child.wait_ready()
        await create_database(config)
        await cheapen_passwords(config)
        database = Database(DatabaseSettings(url=SecretStr(config.database_url), pool_size=2))
        await migrate(database)
        await database.aclose()
        yield config
    finally:
        await child.stop(asyncio.Event())


@pytest.fixture
async def database_url(postgres: StackConfig) -> AsyncIterator[str]:
    """A fresh, migrated database of its own."""
    async with fresh_database(postgres) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The fresh database, open."""
    # Many that write at once wait for each other: on a loaded machine longer than the default.
    timeout = timedelta(seconds=patience(5))
    opened = Database(DatabaseSettings(url=SecretStr(database_url), timeout=timeout))
    yield opened
    await opened.aclose()


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A real Temporal server (in memory), for what the time-skipping one lacks."""
    env = await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        dev_server_existing_path=temporal_program("temporal"),
        dev_server_extra_args=[
            "--dynamic-config-value",
            "history.transferProcessorMaxPollRPS=1000",
        ],
    )
    async with env:
        yield env.client
