"""A mail server, and settings with it, a key ring and short pauses."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from cortex.settings import DatabaseSettings, Settings
from tests.notices.support import QUICK, smtp_of
from tests.support.mail import MailServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    server = MailServer(tmp_path)
    server.start()
    yield server
    server.end()


@pytest.fixture
def settings(database_url: str, tmp_path: Path, server: MailServer) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr(database_url)),
        smtp=smtp_of(server),
        notices=QUICK,
        encryption_keys=SecretStr(f"k1:{base64.b64encode(b'0' * 32).decode()}"),
    )
