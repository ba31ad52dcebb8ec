"""What all sections of the settings are made of."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)

from cortex.domain.accounts import check_user_name
from cortex.domain.rights import LOCAL_ADMIN
from cortex.domain.sso import SSO_NAME, is_safe_url
from cortex.domain.units import parse_bytes, parse_duration


def _key_name(name: str) -> str:
    if name == LOCAL_ADMIN:
        raise ValueError(f"`{LOCAL_ADMIN}` is the owner of the plain `api.key`")
    return check_user_name(name)


def _origin(text: str) -> str:
    """As browsers write it: what differs by a slash would never match."""
    if text != "*" and not re.fullmatch(_ORIGIN, text):
        raise ValueError("must be `*`, or scheme and host in lower case: `https://example.org`")
    return text


def _base_url(text: str) -> str:
    """Without a slash at its end: paths are put behind it."""
    if not is_safe_url(text) or not re.fullmatch(r"[^?#@]+", text):
        raise ValueError("must be such as `https://cortex.example.org`")
    return text.rstrip("/")


def _database_url(url: SecretStr) -> SecretStr:
    """What libpq says of a malformed one has the password in it; so it never gets to see one."""
    scheme, _, rest = url.get_secret_value().partition("://")
    authority = re.split("[/?]", rest)[0]
    if scheme not in ("postgresql", "postgres"):
        raise ValueError("must be such as `postgresql://user:password@host:5432/database`")
    if authority.count("@") > 1:
        raise ValueError("has more than one `@`: write that of the password as `%40`")
    if re.search("%(?![0-9A-Fa-f]{2})", rest):
        raise ValueError("has a `%` without two hexadecimal digits behind it: write it as `%25`")
    return url


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(_HOST, host) or not re.fullmatch("[0-9]{1,5}", port):
        raise ValueError("must be `host:port`, such as `127.0.0.1:7233`")
    if not 1 <= int(port) <= 65535:
        raise ValueError("must have a port from 1 to 65535")
    return text


_HOST = r"[^\[\]:/@\s]+|\[[0-9a-fA-F:.]+\]"
_ORIGIN = r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
Origin = Annotated[str, AfterValidator(_origin)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda text: text.upper() if isinstance(text, str) else text),
]
Address = Annotated[str, AfterValidator(_address)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
SsoName = Annotated[str, Field(pattern=SSO_NAME)]
UserName = Annotated[str, AfterValidator(check_user_name)]
KeyName = Annotated[str, AfterValidator(_key_name)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Bytes = Annotated[int, BeforeValidator(parse_bytes)]


def check_waits(first: timedelta, longest: timedelta) -> None:
    """The pauses between attempts grow from the first to the longest."""
    if longest < first:
        raise ValueError("`longest_wait` must not be less than `first_wait`")


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
