"""The configuration of a container engine, and where its socket is found."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from cortex.domain.quantities import Bytes, Duration
from providers.base import ComputePrices, ProviderConfig

# What ordinary images need to write their own files and to give up root by themselves. Podman's
# root folder is not even writable for root without DAC_OVERRIDE.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
_CAPABILITY = re.compile(r"(CAP_)?[A-Z][A-Z_]*")


class Ulimit(BaseModel):
    """One resource limit of the job's processes; `1024` or `1024:4096` (soft:hard) as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    soft: int = Field(ge=-1)
    hard: int = Field(ge=-1)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, int | str) and not isinstance(value, bool):
            soft, _, hard = str(value).partition(":")
            return {"soft": soft, "hard": hard or soft}
        return value


class RegistryAuth(BaseModel):
    """Credentials for one image registry; never sent to another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str = Field(default="docker.io", description="Host, with port if it is not 443.")
    username: str
    password: SecretStr


class DockerConfig(ProviderConfig):
    """One container engine behind a unix socket."""

    socket: str = Field(
        default="", description="Path of the engine's socket. Empty: DOCKER_HOST, then the usual."
    )
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")] = Field(
        default="default",
        description="Tells apart two installations of Cortex that share one engine.",
    )
    prices: ComputePrices = Field(default_factory=ComputePrices)
    network: Literal["bridge", "host", "none"] = "bridge"
    publish_address: str = Field(
        default="127.0.0.1", description="Address of this machine on which ports are published."
    )
    ulimits: dict[str, Ulimit] = Field(default_factory=dict)
    runtime: str | None = Field(default=None, description="OCI runtime, such as `runc`.")
    init: bool = Field(default=True, description="A small init as process 1, if the engine has it.")
    cap_add: tuple[str, ...] = Field(
        default=_CAPABILITIES,
        description="Linux capabilities of a job; all others are dropped. May be empty.",
    )
    stop_grace: Duration = timedelta(seconds=10)
    log_max_size: Annotated[Bytes, Field(ge=64 * 1024)] = 32 * 2**20
    max_output_bytes: Annotated[Bytes, Field(ge=0)] = 2**30
    keep_free: Annotated[Bytes, Field(ge=0)] | None = Field(
        default=None,
        description="Of the engine's disk: with less, no job is started, and of those that run the "
        "largest is ended; default: 5 % of it, 64 to 256 MiB.",
    )
    pull: Literal["missing", "always", "never"] = "missing"
    registries: tuple[RegistryAuth, ...] = ()
    gpu_models: tuple[str, ...] = Field(
        default=(), description="GPU models of this machine; used if the engine has `nvidia`."
    )
    regions: tuple[str, ...] = ()

    @field_validator("cap_add")
    @classmethod
    def _known_form(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _CAPABILITY.fullmatch(name) or name in {"ALL", "CAP_ALL"}:
                raise ValueError(f"`{name}` must be one capability, such as `CHOWN`")
        return value

    @field_validator("gpu_models")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in value)

    @field_validator("socket")
    @classmethod
    def _unix_path(cls, value: str) -> str:
        path = value.removeprefix("unix://")
        if path and not path.startswith("/"):
            raise ValueError("must be the absolute path of a unix socket")
        return path

    def socket_path(self) -> str:
        """The configured socket, or the first one that this machine has."""
        return self.socket or default_socket()


def default_socket() -> str:
    """DOCKER_HOST if it names a unix socket, else Docker's, else Podman's (root's, then ours)."""
    host = os.environ.get("DOCKER_HOST", "")
    if host.startswith("unix://"):
        return host.removeprefix("unix://")
    docker = "/var/run/docker.sock"
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    usual = [docker, "/run/podman/podman.sock", f"{runtime_dir}/podman/podman.sock"]
    return next((path for path in usual if Path(path).exists()), docker)
