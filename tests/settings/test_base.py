"""What the sections of the settings are made of."""

import pytest
from pydantic import SecretStr, ValidationError

from cortex.settings import DatabaseSettings, TemporalSettings


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres:/cortex:geheim@127.0.0.1/x", "must be such as `postgresql://"),
        ("host=localhost password=geheim", "must be such as `postgresql://"),
        ("postgresql://cortex:ge@heim@127.0.0.1/x", "write that of the password as `%40`"),
        ("postgresql://cortex:geheim%zz@127.0.0.1/x", "write it as `%25`"),
    ],
)
def test_a_malformed_database_url_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DatabaseSettings(url=SecretStr(url))
    assert said in str(refused.value)
    assert "heim" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["localhost", "::1", "localhost:99999", "localhost:0", "http://localhost:7233", ""]
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValidationError, match="must be `host:port`|from 1 to 65535"):
        TemporalSettings(address=address)


@pytest.mark.parametrize("address", ["localhost:7233", "[::1]:7233", "a.tmprl.cloud:7233"])
def test_an_address(address: str) -> None:
    assert TemporalSettings(address=address).address == address


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://cortex@127.0.0.1:5432/cortex",
        "postgres://cortex:a%40b@[::1]/cortex?sslmode=require",
        "postgresql://u:p@one:5432,two:5432/db?target_session_attrs=read-write",
    ],
)
def test_other_ones_are_taken(url: str) -> None:
    assert DatabaseSettings(url=SecretStr(url)).url.get_secret_value() == url
