"""Today's code on what a commit of before has left behind."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.client import Client

from cortex.db.engine import Database
from cortex.embedded.config import StackConfig
from cortex.settings import (
    ApiSettings,
    DatabaseSettings,
    ProviderSettings,
    Settings,
    TemporalSettings,
)
from cortex.temporal.client import connect
from tests.accepted.then import KEYS, database_of_then
from tests.api.support import KEY
from tests.integration.conftest import Stage


@pytest.fixture
async def database_url(postgres: StackConfig) -> AsyncIterator[str]:
    """Of the database of then, migrated."""
    async with database_of_then(postgres) as url:
        yield url


@pytest.fixture
async def stage(database_url: str, database: Database, temporal: Client, tmp_path: Path) -> Stage:
    """Where its jobs go on: with the provider that it had."""
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr(database_url)),
        temporal=TemporalSettings(
            address=temporal.service_client.config.target_host,
            namespace=f"t-{uuid.uuid4().hex[:8]}",
            retention=timedelta(days=1),
        ),
        api=ApiSettings(key=SecretStr(KEY)),
        providers={"local": ProviderSettings.model_validate({"type": "local"})},
        encryption_keys=KEYS,
    )
    return Stage(settings, database, await connect(settings.temporal))
