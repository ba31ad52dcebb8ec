"""The keyring of the desktop, where there is one: it keeps the secrets of logins.

Where there is none (servers, containers), or the extra `keyring` is not installed, they are kept in
the file of the login, which only its owner may read.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol, cast

SERVICE: Final = "cortex"
"""What its entries are filed under."""
_GOOD: Final = 1
"""From this priority on a backend protects what it keeps, as the library says."""


class Vault(Protocol):
    """What is used of a keyring."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


def desktop_vault() -> Vault | None:
    """The keyring, if there is one that protects what it keeps."""
    if find_spec("keyring") is None:
        return None
    backend: Any = import_module("keyring").get_keyring()
    return cast("Vault", backend) if backend.priority >= _GOOD else None


def vault_errors() -> tuple[type[Exception], ...]:
    """What a keyring raises that is locked, or away."""
    errors: Any = import_module("keyring.errors")
    # Some backends let errors of their own system out.
    return (errors.KeyringError, OSError, RuntimeError)
