"""Sections about what is outside: plugins, webhooks, services that keep keys, networks."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)

from cortex.domain.mail import MailAddress, MaybeAddress, Tls
from cortex.settings.base import Duration, Section, UserName, check_waits


class PluginDeliverySettings(Section):
    tries: int = Field(default=5, ge=1, le=100, description="Of one event, then it is skipped.")
    first_wait: Duration = Field(
        default=timedelta(seconds=1), description="After the first failure; doubles with each."
    )
    longest_wait: Duration = Field(default=timedelta(minutes=1), description="Between two tries.")
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long a plugin may take for one event."
    )

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        check_waits(self.first_wait, self.longest_wait)
        return self


class WebhookSettings(Section):
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

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        check_waits(self.first_wait, self.longest_wait)
        return self


class SmtpSettings(Section):
    """The mail server of this installation; without a `host` no mail is sent."""

    host: str = Field(default="", max_length=253, description="Name of the server.")
    port: int = Field(default=587, ge=1, le=65535)
    tls: Tls = Field(
        default=Tls.STARTTLS, description="`starttls`, `tls` (from the start, port 465) or `none`."
    )
    ca: FilePath | None = Field(
        default=None, description="Certificates (PEM) to trust besides the system's."
    )
    username: str = Field(default="", description="Empty: without logging in.")
    password: SecretStr = SecretStr("")
    sender: MaybeAddress = Field(default="", description="What mails are from.")
    addresses: dict[UserName, MailAddress] = Field(
        default_factory=dict,
        description="Addresses of those who have their key in the settings; `local` is the owner "
        "of the plain `api.key`. Users have theirs by `cortex users`.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.host and not self.sender:
            raise ValueError("`host` needs a `sender`: what mails are from")
        if self.username and self.tls is Tls.NONE:
            raise ValueError("`username` needs `tls`: a password is not sent in clear")
        return self


class NoticeSettings(Section):
    first_wait: Duration = Field(
        default=timedelta(seconds=10),
        gt=timedelta(0),
        description="After the first failed attempt to send; doubles with each.",
    )
    longest_wait: Duration = Field(
        default=timedelta(minutes=30), gt=timedelta(0), description="Between two attempts."
    )
    give_up_after: Duration = Field(
        default=timedelta(hours=24), description="A notice that is not taken for so long is dead."
    )
    at_once: int = Field(default=8, ge=1, le=100, description="Sent at once by a worker.")
    gather: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(0),
        description="How long a notice waits for others, to be told in one message.",
    )
    gap: Duration = Field(
        default=timedelta(minutes=5),
        description="Between two messages to one person over one channel; what comes up meanwhile "
        "is told by the next.",
    )
    max_age: Duration = Field(
        default=timedelta(days=1), description="What is older when its turn comes is told nobody."
    )

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        check_waits(self.first_wait, self.longest_wait)
        return self


class VaultSettings(Section):
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


class KmsSettings(Section):
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
