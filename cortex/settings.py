"""All settings of Cortex in one class: defaults < `cortex.toml` < environment `CORTEX_*`.

Nested names are joined by two underscores: `CORTEX_DATABASE__URL`. A secret may also come from a
file of the same lower-case name in the folder `CORTEX_SECRETS_DIR` (`cortex_database__url`).
"""

import os
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from cortex.domain.accounts import check_user_name
from cortex.domain.device import DeviceRules
from cortex.domain.lockout import LockoutRules
from cortex.domain.passkeys import PasskeyRules
from cortex.domain.passwords import PasswordRules
from cortex.domain.providers.circuit import CircuitRules
from cortex.domain.providers.health import HealthRules
from cortex.domain.rights import LOCAL_ADMIN, Role
from cortex.domain.sessions import SessionRules
from cortex.domain.spec import Weights
from cortex.domain.sso import SSO_NAME, OidcProvider, is_safe_url
from cortex.domain.trace.stuck import StuckRules
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


_ORIGIN = r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
Origin = Annotated[str, AfterValidator(_origin)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda text: text.upper() if isinstance(text, str) else text),
]
SsoName = Annotated[str, Field(pattern=SSO_NAME)]
KeyName = Annotated[str, AfterValidator(_key_name)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Bytes = Annotated[int, BeforeValidator(parse_bytes)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(_Section):
    url: SecretStr = Field(
        default=SecretStr("postgresql://cortex@127.0.0.1:5432/cortex"),
        description="PostgreSQL connection URL.",
    )
    pool_size: int = Field(
        default=10,
        ge=2,
        le=200,
        description="Connections per process that write, and as many that read.",
    )
    timeout: Duration = Field(default=timedelta(seconds=5), description="To get a connection.")


class TemporalSettings(_Section):
    address: str = Field(default="127.0.0.1:7233", description="host:port of the frontend.")
    namespace: str = Field(default="cortex", description="Made at start if it does not exist.")
    retention: Duration = Field(default=timedelta(days=30), description="Of closed workflows.")
    ui_url: str = Field(default="http://127.0.0.1:8233", description="Web UI, for links.")
    api_key: SecretStr | None = Field(default=None, description="For Temporal Cloud.")
    tls: bool = Field(default=False, description="Connect with TLS.")
    encrypt_payloads: bool = Field(
        default=False,
        description="Encrypt with `encryption_keys` whatever is told to Temporal. All processes "
        "read it encrypted and in clear; older versions of Cortex do not.",
    )


class ApiKey(_Section):
    """One more key, for somebody with a name and a role."""

    key: SecretStr = Field(min_length=16, description="The key itself; at least 16 characters.")
    role: Role = Field(description="`admin`, `operator`, `developer`, `viewer` or `billing`.")


class ApiSettings(_Section):
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8700, ge=1, le=65535)
    public_url: BaseUrl | None = Field(
        default=None,
        description="How browsers reach it, such as `https://cortex.example.org`: for logins by "
        "other services, and by a browser; None: only those on this machine.",
    )
    key: SecretStr | None = Field(
        default=None, description="The API key that clients send; whoever has it is admin `local`."
    )
    keys: dict[KeyName, ApiKey] = Field(
        default_factory=dict, description="More keys: name of who has it to key and role."
    )
    max_body: Bytes = Field(default=2 * 2**20, description="Largest request body.")
    max_in_flight: int = Field(
        default=64, ge=1, description="Requests worked on at once; more wait, then get a 503."
    )
    admission_timeout: Duration = Field(
        default=timedelta(seconds=5), description="How long a request waits for its turn."
    )
    requests_per_minute: int = Field(
        default=0, ge=0, description="Of one user, with all keys together; 0: no limit."
    )
    failed_keys_per_minute: int = Field(
        default=30,
        ge=0,
        description="Keys that are not valid, from one other machine, before more are refused "
        "unseen; 0: no limit.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Where several API processes count together (`redis://`, `rediss://`, "
        "`unix://`); without it each counts for itself.",
    )
    cors_origins: tuple[Origin, ...] = Field(
        default=(),
        description="Web pages of others that may use the API from a browser, such as "
        "`https://dash.example.org`; `*`: all.",
    )
    hsts: Duration = Field(
        default=timedelta(0),
        ge=timedelta(0),
        description="How long browsers are told to come by HTTPS only, where they came by it; "
        "0: they are not told.",
    )

    max_sockets: int = Field(default=1000, ge=0, description="WebSockets at once, per process.")
    slow_client: Duration = Field(
        default=timedelta(seconds=10),
        description="How long a WebSocket's client may leave a message waiting before it is cut "
        "off.",
    )

    @model_validator(mode="after")
    def _tells_apart(self) -> "ApiSettings":
        """A key that two have would make one of them the other."""
        owners: dict[str, str] = {}
        for name, value in self.all_keys():
            if value in owners:
                raise ValueError(f"`{owners[value]}` and `{name}` have the same key")
            owners[value] = name
        return self

    def all_keys(self) -> list[tuple[str, str]]:
        """Every key with the name of who has it."""
        plain = self.key.get_secret_value() if self.key else ""
        return [
            *([(LOCAL_ADMIN, plain)] if plain else []),
            *((name, key.key.get_secret_value()) for name, key in self.keys.items()),
        ]


class WorkerSettings(_Section):
    queues: tuple[str, ...] = Field(
        default=(),
        description="Task queues to serve, such as `cortex`, `provider.docker`, `provider.*`; "
        "empty: all.",
    )
    max_activities: int = Field(default=100, ge=1, description="At once, per task queue.")
    max_workflow_tasks: int = Field(default=20, ge=2, description="At once.")
    cached_workflows: int = Field(default=1000, ge=0, description="Kept in memory.")
    graceful_shutdown: Duration = Field(default=timedelta(seconds=30))
    health_file: Path | None = Field(
        default=None, description="Touched while the worker is healthy, for container probes."
    )


class JobSettings(_Section):
    accept: bool = Field(
        default=True, description="Whether new jobs and groups are taken; those that run go on."
    )
    max_duration: Duration = Field(
        default=timedelta(days=30), description="Longest duration of a job, extensions included."
    )
    heartbeat_timeout: Duration = Field(
        default=timedelta(seconds=15), description="A dead worker is noticed after this."
    )
    safety_check: Duration = Field(
        default=timedelta(hours=1), description="How often a running job asks its provider itself."
    )
    quote_timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long a provider may take for an offer."
    )
    warn_before: Duration = Field(
        default=timedelta(minutes=10),
        ge=timedelta(0),
        description="Told so long before a job's deadline, at most a quarter of its duration; "
        "0: never, and no job is extended by itself.",
    )


class StrategyWeights(_Section):
    """What each strategy weighs, unless a job brings weights of its own."""

    cost: Weights = Weights(cost=Decimal(1))
    performance: Weights = Weights(performance=Decimal(9), cost=Decimal(1))
    availability: Weights = Weights(availability=Decimal(9), cost=Decimal(1))


class PlacementSettings(_Section):
    weights: StrategyWeights = Field(default_factory=StrategyWeights)
    window: Duration = Field(
        default=timedelta(days=7), description="How far back health and leases are counted."
    )
    max_rate_age: Duration = Field(
        default=timedelta(hours=1), description="A conversion rate older than this is told."
    )
    typical_run: Duration = Field(
        default=timedelta(minutes=10),
        description="What a job is taken to run for when speed is weighed against waiting.",
    )
    refresh: Duration = Field(
        default=timedelta(seconds=15), description="How often a worker counts anew."
    )


class MonitorSettings(_Section):
    heartbeat_timeout: Duration = Field(default=timedelta(seconds=30))
    tell_after: Duration = Field(
        default=timedelta(seconds=10),
        description="A network that is silent for so long is told to the jobs that run there.",
    )
    max_follows: int = Field(default=200, ge=0, description="Log streams followed at once.")


class ReconcileSettings(_Section):
    every: Duration = Field(
        default=timedelta(minutes=5),
        description="How often networks, books and Temporal are compared.",
    )
    grace: Duration = Field(
        default=timedelta(minutes=2),
        description="How long a finding must last before something is done about it.",
    )
    dry_run: bool = Field(
        default=False, description="Findings are written down and told; nothing is done about them."
    )
    unknown_keys: Literal["close", "tell"] = Field(
        default="close",
        description="What is done about leases at a network that Cortex has never written down. "
        "`tell` where another Cortex uses the same account.",
    )


class BudgetSettings(_Section):
    check_every: Duration = Field(
        default=timedelta(minutes=1),
        description="How often budgets are looked at: rates, alerts, jobs to be stopped.",
    )
    usage_every: Duration = Field(
        default=timedelta(minutes=1),
        description="How often a network is asked what a running lease has cost, at most.",
    )


class LogSettings(_Section):
    max_bytes: Bytes = Field(
        default=8 * 2**20, description="Kept per job: the first quarter and the newest rest."
    )
    retention: Duration = Field(default=timedelta(days=30), description="After the job has ended.")


class DropSettings(_Section):
    """The drop box, through which jobs on a network hand over results and output files."""

    secret: SecretStr | None = Field(
        default=None, description="Signs its links; without it there is no drop box."
    )
    url: str | None = Field(
        default=None, description="How workers reach the API; default: its own address."
    )
    public_url: str | None = Field(
        default=None, description="How jobs on a network reach the API; default: as `url`."
    )
    max_bytes: Bytes = Field(default=10 * 2**30, description="Largest object.")


class DiskSettings(_Section):
    keep_free: Bytes | None = Field(
        default=None,
        ge=0,
        description="Kept free on the data folder's disk, for the servers: with less, local jobs "
        "are ended, the largest first, and results are kept only as far as half of it stays free; "
        "default: 5 % of the disk, 64 to 256 MiB.",
    )


class RetentionSettings(_Section):
    events: Duration = Field(default=timedelta(days=90), description="Of history tables.")


class TelemetrySettings(_Section):
    log_level: LogLevel = Field(default="INFO", description="`DEBUG`, `INFO`, `WARNING`, `ERROR`.")
    log_format: str = Field(default="json", pattern="^(json|console)$")
    metrics_port: int | None = Field(default=None, description="Prometheus metrics of the worker.")
    otlp_endpoint: str | None = Field(
        default=None, description="Collector of traces, such as http://127.0.0.1:4318/v1/traces."
    )


class PluginDeliverySettings(_Section):
    tries: int = Field(default=5, ge=1, le=100, description="Of one event, then it is skipped.")
    first_wait: Duration = Field(
        default=timedelta(seconds=1), description="After the first failure; doubles with each."
    )
    longest_wait: Duration = Field(default=timedelta(minutes=1), description="Between two tries.")
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long a plugin may take for one event."
    )


class WebhookSettings(_Section):
    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description="Networks that webhooks may lead to although they are not public, such as "
        "`10.20.0.0/16`; there also without TLS.",
    )
    allow_http: bool = Field(
        default=False, description="Whether public addresses may be sent to without TLS."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=15),
        gt=timedelta(0),
        description="How long a receiver may take to answer, looking up its name included.",
    )
    first_wait: Duration = Field(
        default=timedelta(seconds=5),
        gt=timedelta(0),
        description="After the first failed attempt; doubles with each.",
    )
    longest_wait: Duration = Field(
        default=timedelta(hours=1), gt=timedelta(0), description="Between two attempts."
    )
    give_up_after: Duration = Field(
        default=timedelta(hours=24), description="A delivery that is not taken for so long is dead."
    )
    disable_after: Duration = Field(
        default=timedelta(days=3),
        description="A webhook of which nothing was taken for so long is disabled.",
    )
    at_once: int = Field(default=32, ge=1, le=1000, description="Sent at once by a worker.")
    per_webhook: int = Field(default=8, ge=1, le=1000, description="The same, to one webhook.")
    keep_delivered: Duration = Field(
        default=timedelta(days=3), description="How long is shown what was delivered."
    )
    keep_dead: Duration = Field(
        default=timedelta(days=30), description="How long what is dead can be delivered by hand."
    )


class VaultSettings(_Section):
    """Transit of Vault or OpenBao, for keys `id:vault:v1:…` of `encryption_keys`."""

    address: str = Field(default="", description="Such as `https://vault.example.org:8200`.")
    mount: str = Field(default="transit", description="Where the transit engine is.")
    key: str = Field(default="cortex", description="The key there that wraps ours.")
    namespace: str = Field(default="", description="Of Vault Enterprise.")
    token_file: Path | None = Field(default=None, description="File that holds a token.")
    token: SecretStr | None = None
    role_id: str = Field(default="", description="Of AppRole, in place of a token.")
    secret_id_file: Path | None = Field(default=None, description="File that holds its secret id.")
    secret_id: SecretStr | None = None
    approle_mount: str = Field(default="approle", description="Where AppRole is.")
    ca_file: Path | None = Field(default=None, description="Whom to trust besides public CAs: PEM.")
    timeout: Duration = Field(default=timedelta(seconds=5), description="Of one request.")


class KmsSettings(_Section):
    """Who opens keys of the ring that are wrapped, when a process starts."""

    patience: Duration = Field(
        default=timedelta(minutes=1), description="How long a start waits for them."
    )
    vault: VaultSettings = Field(default_factory=VaultSettings)
    services: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options of those that packages bring, by name."
    )


class PluginSettings(BaseModel):
    """One plugin: the fields of its own configuration."""

    model_config = ConfigDict(frozen=True, extra="allow")

    enabled: bool = True

    def config(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ProviderSettings(BaseModel):
    """One provider: its `type`, and the fields of that type's configuration."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    enabled: bool = True
    rate_limit: float | None = Field(
        default=None, gt=0, description="Steps per second at most, all workers together."
    )

    def config(self) -> dict[str, Any]:
        return {**(self.model_extra or {}), "enabled": self.enabled}


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/cortex`, as desktops have it."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "cortex"


class Settings(BaseSettings):
    """Every setting, with its default and what it does."""

    model_config = SettingsConfigDict(
        env_prefix="CORTEX_",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
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
    providers: dict[str, ProviderSettings] = Field(
        default_factory=lambda: {"local": ProviderSettings(type="local")},
        description="Provider id to its type and configuration.",
    )

    @property
    def outputs_dir(self) -> Path:
        """Where result files are kept; shared by API and workers."""
        return self.data_dir / "outputs"

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
