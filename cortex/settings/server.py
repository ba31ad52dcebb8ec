"""Sections about the servers that Cortex talks to and is: PostgreSQL, Temporal, the API."""

from datetime import timedelta

from pydantic import (
    Field,
    SecretStr,
    model_validator,
)

from cortex.domain.rights import LOCAL_ADMIN, Role
from cortex.settings.base import (
    Address,
    BaseUrl,
    Bytes,
    DatabaseUrl,
    Duration,
    KeyName,
    Origin,
    Section,
)


class DatabaseSettings(Section):
    url: DatabaseUrl = Field(
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


class TemporalSettings(Section):
    address: Address = Field(default="127.0.0.1:7233", description="host:port of the frontend.")
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


class ApiKey(Section):
    """One more key, for somebody with a name and a role."""

    key: SecretStr = Field(min_length=16, description="The key itself; at least 16 characters.")
    role: Role = Field(description="`admin`, `operator`, `developer`, `viewer` or `billing`.")


class ApiSettings(Section):
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

    max_connections: int = Field(
        default=2000,
        ge=16,
        le=1_000_000,
        description="HTTP connections at once, per process, without WebSockets. One more takes the "
        "place of one whose request is not complete, or that waits for the next; then a 503.",
    )
    body_memory: Bytes = Field(
        default=128 * 2**20,
        description="Of the bodies of all requests together, per process; more get a 503.",
    )
    max_sockets: int = Field(
        default=1000, ge=0, le=1_000_000, description="WebSockets at once, per process."
    )
    max_streams: int = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="Streams of server-sent events at once, per process.",
    )
    max_streams_per_user: int = Field(
        default=250,
        ge=0,
        le=1_000_000,
        description="WebSockets and streams of one user at once, with all keys together, per "
        "process; 0: no limit.",
    )
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
