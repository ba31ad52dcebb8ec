"""Keys of the ring that are kept wrapped: a key service opens them when a process starts.

An entry of `encryption_keys` is `id:base64`, or `id:SERVICE:wrapped`: `vault`, or what a package
brings under the entry point `cortex.kms`. Opened, keys are kept in memory; when the service is
away later, nothing needs it until the next start.
"""

import base64
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

import structlog
from pydantic import SecretStr

from cortex.domain.errors import CortexError
from cortex.settings import KmsSettings, Settings

GROUP: Final = "cortex.kms"
VAULT: Final = "vault"
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 10.0
_log = structlog.get_logger(__name__)


class KeyServiceAway(CortexError):
    """A key service cannot be asked now, and perhaps soon."""

    code = "key_service_away"
    title = "A key service is away"


class KeyService(Protocol):
    """What wraps keys. Under `cortex.kms` stands a callable that makes one of its options."""

    def unwrap(self, wrapped: str) -> bytes:
        """The 32 bytes behind what `new_key` gave.

        Raises:
            KeyServiceAway: it cannot be asked now; it is asked again.
            CortexError: it does not open this one; says why, in words for people.
        """
        ...

    def new_key(self) -> str:
        """A new key of 32 bytes, wrapped: printable ASCII without blank and comma.

        Raises:
            CortexError: as `unwrap`.
        """
        ...

    def close(self) -> None:
        """No more is asked."""
        ...


@dataclass(frozen=True)
class _Entry:
    id: str
    service: str
    content: str


def with_open_keys(settings: Settings) -> Settings:
    """The settings with every key in clear, as all else expects them.

    Call it before the event loop: it waits for the services, at most `kms.patience`.

    Raises:
        CortexError: a key cannot be opened; says which, and why.
    """
    entries = list(_entries(settings.encryption_keys))
    if not any(entry.service for entry in entries):
        return settings
    services = _Services(settings.kms)
    with services:
        keys = [f"{entry.id}:{services.opened(entry)}" for entry in entries]
    return settings.model_copy(update={"encryption_keys": SecretStr(",".join(keys))})


def new_entry(key_id: str, service: str | None, settings: KmsSettings) -> str:
    """An entry for `encryption_keys` with a new key: wrapped by a service, or in clear.

    Raises:
        CortexError: the id cannot be one, or the service makes no key.
    """
    if not key_id or not key_id.isascii() or not key_id.replace("-", "").isalnum():
        raise CortexError("the id of a key is made of letters, digits and `-`")
    if service is None:
        return f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}"
    opened = key_service(service, settings)
    try:
        wrapped = opened.new_key()
        # What cannot be opened again must not become anybody's key.
        _checked(opened.unwrap(wrapped), key_id, service)
    finally:
        opened.close()
    return f"{key_id}:{service}:{wrapped}"


def key_service(name: str, settings: KmsSettings) -> KeyService:
    """The service of this name.

    Raises:
        CortexError: there is none, or its options are not valid.
    """
    if name == VAULT:
        made: KeyService = import_module("cortex.security.vault").Vault(settings.vault)
        return made
    for point in entry_points(group=GROUP, name=name):
        options: Mapping[str, Any] = settings.services.get(name, {})
        make: Callable[[Mapping[str, Any]], KeyService] = point.load()
        try:
            return make(options)
        except CortexError:
            raise
        except Exception as error:  # foreign code: its message may quote an option
            raise CortexError(
                f"the key service `{name}` cannot be used: {type(error).__name__}"
            ) from error
    raise CortexError(
        f"`encryption_keys`: there is no key service `{name[:40]}`; there is `{VAULT}`, and those "
        f"that installed packages bring (`{GROUP}`)"
    )


class _Services:
    """Those that the entries name, each made once, all asked within one patience."""

    def __init__(self, settings: KmsSettings) -> None:
        self._settings = settings
        self._made: dict[str, KeyService] = {}
        self._stack = ExitStack()
        self._until = time.monotonic() + settings.patience.total_seconds()

    def __enter__(self) -> "_Services":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def opened(self, entry: _Entry) -> str:
        """The key of an entry in base64."""
        if not entry.service:
            return entry.content
        if entry.service not in self._made:
            self._made[entry.service] = key_service(entry.service, self._settings)
            self._stack.callback(self._made[entry.service].close)
        key = self._patiently(self._made[entry.service], entry)
        return base64.b64encode(_checked(key, entry.id, entry.service)).decode()

    def _patiently(self, service: KeyService, entry: _Entry) -> bytes:
        wait = _FIRST_WAIT
        while True:
            try:
                return service.unwrap(entry.content)
            except KeyServiceAway as error:
                left = self._until - time.monotonic()
                if left <= 0:
                    raise CortexError(
                        f"the encryption key `{entry.id}` cannot be opened: {error.detail}"
                    ) from error
                _log.warning("kms.away", key=entry.id, why=error.detail, left=round(left))
                time.sleep(min(wait, left))
                wait = min(wait * 2, _LONGEST_WAIT)
            except CortexError as error:
                raise CortexError(
                    f"the encryption key `{entry.id}` cannot be opened: {error.detail}"
                ) from error
            except Exception as error:  # foreign code: its message may quote an option
                raise CortexError(
                    f"the encryption key `{entry.id}` cannot be opened: `{entry.service}` failed "
                    f"with {type(error).__name__}"
                ) from error


def _entries(setting: SecretStr | None) -> Iterator[_Entry]:
    for text in filter(None, (setting.get_secret_value() if setting else "").split(",")):
        key_id, _, rest = text.strip().partition(":")
        service, colon, wrapped = rest.partition(":")
        yield _Entry(key_id, service, wrapped) if colon else _Entry(key_id, "", rest)


def _checked(key: bytes, key_id: str, service: str) -> bytes:
    if len(key) != 32:
        raise CortexError(
            f"the encryption key `{key_id}` of `{service}` has {len(key)} bytes, and must have 32"
        )
    return key
