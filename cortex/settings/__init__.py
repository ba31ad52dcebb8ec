"""All settings of Cortex in one class: defaults < `cortex.toml` < environment `CORTEX_*`.

Nested names are joined by two underscores: `CORTEX_DATABASE__URL`. A secret may also come from a
file of the same lower-case name in the folder `CORTEX_SECRETS_DIR` (`cortex_database__url`).
"""

import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from cortex.domain.device import DeviceRules
from cortex.domain.errors import CortexError, field_errors
from cortex.domain.lockout import LockoutRules
from cortex.domain.passkeys import PasskeyRules
from cortex.domain.passwords import PasswordRules
from cortex.domain.providers.circuit import CircuitRules
from cortex.domain.providers.health import HealthRules
from cortex.domain.sessions import SessionRules
from cortex.domain.sso import OidcProvider
from cortex.domain.trace.stuck import StuckRules
from cortex.settings.base import Bytes, Duration, SsoName
from cortex.settings.outside import (
    KmsSettings,
    NoticeSettings,
    PluginDeliverySettings,
    PluginSettings,
    ProviderSettings,
    SmtpSettings,
    VaultSettings,
    WebhookSettings,
)
from cortex.settings.server import (
    ApiKey,
    ApiSettings,
    DatabaseSettings,
    TemporalSettings,
)
from cortex.settings.work import (
    BudgetSettings,
    DiskSettings,
    DropSettings,
    JobSettings,
    LogSettings,
    MonitorSettings,
    PlacementSettings,
    ReconcileSettings,
    RetentionSettings,
    StrategyWeights,
    TelemetrySettings,
    WorkerSettings,
)

__all__ = [
    "ApiKey",
    "ApiSettings",
    "BudgetSettings",
    "Bytes",
    "DatabaseSettings",
    "DiskSettings",
    "DropSettings",
    "Duration",
    "JobSettings",
    "KmsSettings",
    "LogSettings",
    "MonitorSettings",
    "NoticeSettings",
    "PlacementSettings",
    "PluginDeliverySettings",
    "PluginSettings",
    "ProviderSettings",
    "ReconcileSettings",
    "RetentionSettings",
    "Settings",
    "SmtpSettings",
    "StrategyWeights",
    "TelemetrySettings",
    "TemporalSettings",
    "VaultSettings",
    "WebhookSettings",
    "WorkerSettings",
    "config_file",
    "default_data_dir",
]


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/cortex`, as desktops have it."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "cortex"


class InvalidSettings(CortexError):
    """A program cannot start with these settings."""

    code = "invalid_settings"
    title = "The settings are not valid"


class Settings(BaseSettings):
    """Every setting, with its default and what it does."""

    model_config = SettingsConfigDict(
        env_prefix="CORTEX_",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Field(
        default_factory=default_data_dir, description="Where outputs and embedded servers live."
    )
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    temporal: TemporalSettings = Field(default_factory=TemporalSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    passwords: PasswordRules = Field(default_factory=PasswordRules)
    passkeys: PasskeyRules = Field(default_factory=PasskeyRules)
    sessions: SessionRules = Field(default_factory=SessionRules)
    lockout: LockoutRules = Field(default_factory=LockoutRules)
    device_login: DeviceRules = Field(default_factory=DeviceRules)
    oidc: dict[SsoName, OidcProvider] = Field(
        default_factory=dict, description="Services by which people log in (OpenID Connect)."
    )
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    jobs: JobSettings = Field(default_factory=JobSettings)
    stuck: StuckRules = Field(default_factory=StuckRules)
    placement: PlacementSettings = Field(default_factory=PlacementSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
    health: HealthRules = Field(default_factory=HealthRules)
    circuit: CircuitRules = Field(default_factory=CircuitRules)
    budgets: BudgetSettings = Field(default_factory=BudgetSettings)
    reconcile: ReconcileSettings = Field(default_factory=ReconcileSettings)
    logs: LogSettings = Field(default_factory=LogSettings)
    drop: DropSettings = Field(default_factory=DropSettings)
    disk: DiskSettings = Field(default_factory=DiskSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Key ring: `id:base64` of 32 bytes each, comma-separated, newest first; or "
        "`id:vault:v1:…` and the like, for keys that a service opens (`kms`).",
    )
    kms: KmsSettings = Field(default_factory=KmsSettings)
    plugins: dict[str, PluginSettings] = Field(
        default_factory=dict, description="Plugin name to its configuration."
    )
    plugin_delivery: PluginDeliverySettings = Field(default_factory=PluginDeliverySettings)
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    smtp: SmtpSettings = Field(default_factory=SmtpSettings)
    notices: NoticeSettings = Field(default_factory=NoticeSettings)
    providers: dict[str, ProviderSettings] = Field(
        default_factory=lambda: {"local": ProviderSettings(type="local")},
        description="Provider id to its type and configuration.",
    )

    @property
    def outputs_dir(self) -> Path:
        """Where result files are kept; shared by API and workers."""
        return self.data_dir / "outputs"

    def plugin_sections(self) -> dict[str, PluginSettings]:
        """Sections of plugins, by name; `email` without a `host` has the server of `[smtp]`."""
        mail = self.plugins.get("email")
        if mail is None or not self.smtp.host or "host" in mail.config():
            return self.plugins
        server = self.smtp.model_dump(exclude={"addresses"})
        return {**self.plugins, "email": PluginSettings.model_validate({**server, **dict(mail)})}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = [init_settings, env_settings]
        secrets_dir = os.environ.get("CORTEX_SECRETS_DIR")
        if secrets_dir:
            sources.append(
                NestedSecretsSettingsSource(file_secret_settings, secrets_dir=secrets_dir)
            )
        sources.append(TomlConfigSettingsSource(settings_cls, toml_file=config_file()))
        return tuple(sources)


def config_file() -> Path:
    """The TOML file in use: `CORTEX_CONFIG`, or `cortex.toml` in the working folder."""
    return Path(os.environ.get("CORTEX_CONFIG", "cortex.toml"))


def read_settings() -> Settings:
    """The settings of this process, for a program that starts.

    Raises:
        InvalidSettings: they are not valid, or cannot be read; field by field, without the values,
            which may be secrets.
    """
    where = f"{config_file()}, CORTEX_*"
    try:
        return Settings()
    except ValidationError as error:
        problems = ", ".join(f"`{one.field}` {one.message}" for one in field_errors(error))
        raise InvalidSettings(f"the settings ({where}) are not valid: {problems}") from None
    except (ValueError, OSError) as error:
        raise InvalidSettings(f"the settings ({where}) cannot be read: {error}") from None
