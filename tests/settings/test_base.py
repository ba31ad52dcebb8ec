"""What the sections of the settings are made of."""

import pytest
from pydantic import SecretStr, ValidationError

from cortex.settings import DatabaseSettings


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
    "url",
    [
        "postgresql://cortex@127.0.0.1:5432/cortex",
        "postgres://cortex:a%40b@[::1]/cortex?sslmode=require",
        "postgresql://u:p@one:5432,two:5432/db?target_session_attrs=read-write",
    ],
)
def test_other_ones_are_taken(url: str) -> None:
    assert DatabaseSettings(url=SecretStr(url)).url.get_secret_value() == url
