"""Settings with a key ring and short pauses, for receivers on loopback."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from cortex.settings import DatabaseSettings, Settings
from tests.webhooks.support import QUICK


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr(database_url)),
        webhooks=QUICK,
        encryption_keys=SecretStr(f"k1:{base64.b64encode(b'0' * 32).decode()}"),
    )
