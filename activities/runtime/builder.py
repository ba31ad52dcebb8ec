"""Builds providers from what is configured, and tells the database which types there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from cortex.db.providers.managed import ManagedProvider, ProviderType
from cortex.db.providers.repository import Origin
from cortex.domain.errors import CortexError, InvalidRequest
from cortex.security.keyring import KeyRing
from cortex.security.places import provider_place
from cortex.settings import Settings
from providers.dropbox import DropBox
from providers.registry import (
    AnyProvider,
    config_class,
    make_provider,
    provider_class,
    provider_types,
)
from providers.secrets import join, scrubbed, secret_fields, shown, split

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Blueprint:
    """What a provider is built from."""

    id: str
    type: str
    enabled: bool
    public: dict[str, Any]
    secret_fields: tuple[str, ...] = ()
    rate_limit: float | None = None
    config: dict[str, Any] | None = field(default=None, repr=False)
    """With its secrets: of a provider of the settings."""
    credentials: bytes | None = field(default=None, repr=False)
    """Encrypted: of a provider of the database."""

    @property
    def origin(self) -> Origin | None:
        """The row that it is of; None: it is of the settings, which do not change."""
        return Origin(self.public, self.credentials) if self.config is None else None

    def differs(self, other: "Blueprint") -> bool:
        """Whether it has to be built anew."""
        mine = (self.type, self.public, self.config, self.credentials)
        return mine != (other.type, other.public, other.config, other.credentials)


class Builder:
    """Makes blueprints and providers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keyring = KeyRing.from_setting(settings.encryption_keys)

    @property
    def keyring(self) -> KeyRing:
        return self._keyring

    def of_settings(self) -> dict[str, Blueprint]:
        """Those of the settings.

        Raises:
            InvalidRequest: one of them is not valid; says which field.
        """
        blueprints: dict[str, Blueprint] = {}
        for provider_id, entry in self._settings.providers.items():
            config = entry.config()
            config.pop("enabled", None)
            try:
                provider = self.make(provider_id, entry.type, config)
            except CortexError:
                if entry.enabled:
                    raise
                continue  # switched off, and may be half-written
            public, secrets = split(provider.config, config)
            blueprints[provider_id] = Blueprint(
                provider_id,
                entry.type,
                entry.enabled,
                plain(public),
                shown(secrets),
                entry.rate_limit,
                config=config,
            )
        return blueprints

    def of_database(self, stored: ManagedProvider) -> Blueprint:
        """One that the API manages."""
        return Blueprint(
            stored.id,
            stored.type,
            stored.enabled,
            stored.config,
            rate_limit=stored.rate_limit,
            credentials=stored.credentials,
        )

    def build(self, blueprint: Blueprint) -> tuple[AnyProvider, dict[str, str]]:
        """The provider, not yet initialized, and its secrets by their place.

        Raises:
            CortexError: its type is not installed here, its configuration does not fit, or its
                credentials cannot be decrypted.
        """
        if blueprint.config is not None:
            provider = self.make(blueprint.id, blueprint.type, blueprint.config)
            return provider, split(provider.config, blueprint.config)[1]
        secrets = self.secrets_of(blueprint.id, blueprint.credentials)
        try:
            config = join(blueprint.public, secrets)
            return self.make(blueprint.id, blueprint.type, config), secrets
        except CortexError as error:
            raise InvalidRequest(scrubbed(error.detail, secrets)) from None

    def secrets_of(self, provider_id: str, credentials: bytes | None) -> dict[str, str]:
        """The secrets of a provider of the database, by their place."""
        if not credentials:
            return {}
        return self._keyring.decrypt(credentials, provider_place(provider_id))

    def make(self, provider_id: str, type_name: str, config: Mapping[str, Any]) -> AnyProvider:
        """A provider with what this worker adds to it."""
        whole = dict(config)
        fields = provider_class(type_name).Config.model_fields
        if "state_dir" in fields:
            folder = self._settings.data_dir / "providers" / provider_id
            whole.setdefault("state_dir", str(folder))
        if "keep_free" in fields and self._settings.disk.keep_free is not None:
            whole.setdefault("keep_free", self._settings.disk.keep_free)
        provider = make_provider(provider_id, type_name, whole)
        provider.drop = drop_box(self._settings)
        return provider

    def types(self) -> list[ProviderType]:
        """The types that are installed here; one that cannot be loaded is left out."""
        types: list[ProviderType] = []
        for name in provider_types():
            try:
                config = config_class(name)
                schema = config.model_json_schema()
            except CortexError as error:
                _log.warning("provider.type", type=name, error=error.detail)
                continue
            except Exception:  # somebody else's package must not keep this worker from its work
                _log.exception("provider.type", type=name)
                continue
            schema.get("properties", {}).pop("enabled", None)
            types.append(ProviderType(name, schema, secret_fields(config)))
        return types


def plain(value: Any) -> Any:
    """As JSON: settings from files and the environment have paths and the like."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def drop_box(settings: Settings) -> DropBox | None:
    """The drop box that jobs leave results in, where one is configured."""
    drop = settings.drop
    if drop.secret is None:
        return None
    url = drop.url or f"http://{settings.api.host}:{settings.api.port}"
    secret = drop.secret.get_secret_value().encode()
    return DropBox(url, secret, public_url=drop.public_url)
