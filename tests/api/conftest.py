"""The API against a real database; Temporal is away unless a test asks for it."""

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from cortex.db.engine import Database
from cortex.domain.lockout import LockoutRules
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.domain.sessions import SessionRules
from cortex.settings import ApiSettings, DatabaseSettings, Settings, TemporalSettings
from tests.api.support import CHEAP_PASSWORDS, KEY, NOWHERE, client_of
from tests.support.providers import known_provider


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr(database_url)),
        temporal=TemporalSettings(address=NOWHERE, ui_url="http://ui.test"),
        api=ApiSettings(key=SecretStr(KEY)),
        passwords=CHEAP_PASSWORDS,
        # Minutes: a machine that stands still for seconds changes nothing.
        sessions=SessionRules(grace=timedelta(minutes=1)),
        lockout=LockoutRules(first_wait=timedelta(minutes=1), longest_wait=timedelta(hours=1)),
        encryption_keys=SecretStr(f"k1:{base64.b64encode(b'0' * 32).decode()}"),
    )


@pytest.fixture
async def client(settings: Settings, providers: None) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(settings) as http:
        yield http


@pytest.fixture
async def providers(database: Database) -> None:
    """A cheap one for processes, and a dear one for images only."""
    async with database.transaction() as tx:
        await known_provider(
            tx,
            "local",
            "local",
            capabilities=Capabilities(images=False, processes=True, max_memory=8 * 2**30),
            prices=PriceSheet(cpu_hour=Decimal("0.02")),
        )
        await known_provider(
            tx,
            "docker",
            "docker",
            capabilities=Capabilities(images=True, processes=False),
            prices=PriceSheet(cpu_hour=Decimal("2")),
        )
