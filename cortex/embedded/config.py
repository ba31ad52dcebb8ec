"""What one embedded stack is: its folder, its ports, its secrets, and the environment they make.

Ports and secrets are generated once and kept in `stack.json` (readable by the owner only), so that
the next start finds the same database, the same keys and the same addresses.
"""

import base64
import contextlib
import json
import os
import random
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cortex.domain.errors import field_errors
from cortex.embedded.containers import container_socket, docker_entry
from cortex.embedded.errors import StackError
from cortex.embedded.files import write_private
from cortex.embedded.simulators import SIMULATORS, simulated_providers
from cortex.settings import InvalidSettings, Settings, config_file, read_settings

PortName = Literal["api", "temporal", "temporal_ui", "temporal_metrics", "postgres"]

# How `cortex up` calls the option that moves a port; named in the message about a taken one.
PORT_OPTIONS: dict[PortName, str] = {
    "api": "--port",
    "temporal": "--temporal-port",
    "temporal_ui": "--temporal-ui-port",
    "temporal_metrics": "--temporal-metrics-port",
    "postgres": "--postgres-port",
}
LOOPBACK = "127.0.0.1"
# Below the range that the kernel hands to outgoing connections, so that a port that was found free
# is still free when its server binds it.
_FREE_PORTS = range(15_000, 32_000)


class Ports(BaseModel):
    """The TCP ports of a stack. All but the API's listen on loopback only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api: int = Field(default=8700, ge=1, le=65535)
    temporal: int = Field(default=7233, ge=1, le=65535)
    temporal_ui: int = Field(default=8233, ge=1, le=65535)
    temporal_metrics: int = Field(default=9233, ge=1, le=65535)
    postgres: int = Field(default=54329, ge=1, le=65535)

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        if len({port for _, port in self.items()}) < len(PORT_OPTIONS):
            raise ValueError("the ports must differ from each other")
        return self

    @classmethod
    def free(cls) -> Self:
        """Ports that nothing listens on now, all different."""
        return cls(**dict(zip(cls.model_fields, free_ports(len(cls.model_fields)), strict=True)))

    def items(self) -> list[tuple[PortName, int]]:
        return [(name, getattr(self, name)) for name in PORT_OPTIONS]


class StackSecrets(BaseModel):
    """Generated at the first start. Losing them means losing what is encrypted with them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key: str = Field(
        default_factory=lambda: f"ctx_{secrets.token_urlsafe(32)}", repr=False, min_length=16
    )
    encryption_keys: str = Field(
        default_factory=lambda: f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        repr=False,
    )
    drop: str = Field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    postgres_admin: str = Field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    postgres_cortex: str = Field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


class StackConfig(BaseModel):
    """One embedded stack. Make it with `load` (the usual ports) or `free` (ports that are free)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path
    host: str = LOOPBACK
    ports: Ports = Field(default_factory=Ports)
    simulators: bool = False
    simulator_ports: dict[str, int] = Field(default_factory=dict)
    secrets: StackSecrets = Field(default_factory=StackSecrets)

    @classmethod
    def load(
        cls,
        data_dir: Path | None = None,
        *,
        host: str | None = None,
        ports: Mapping[PortName, int] | None = None,
        simulators: bool | None = None,
    ) -> Self:
        """The stack of this folder; what is not given comes from its `stack.json`, then defaults.

        Args:
            data_dir: The folder of all data; None: that of the settings.
            host: The address that the API listens on.
            ports: The ports that shall differ from the stored ones.
            simulators: Whether the simulated networks run as well.

        Raises:
            StackError: `stack.json` is broken, or lost while the database that needs it is there.
        """
        settings = user_settings()
        folder = (data_dir or settings.data_dir).expanduser().resolve()
        stored = read_stack_file(folder)
        if not stored:
            _refuse_lost_secrets(folder)
            if "port" in settings.api.model_fields_set:
                stored["ports"] = {"api": settings.api.port}
            if "host" in settings.api.model_fields_set:
                stored["host"] = settings.api.host
        stored["ports"] = {**stored.get("ports", {}), **(ports or {})}
        if host:
            stored["host"] = host
        if simulators is not None:
            stored["simulators"] = simulators
        try:
            return cls.model_validate({**stored, "data_dir": folder})
        except ValidationError as err:
            raise StackError(
                f"The embedded stack cannot be configured so: {_problems(err)}."
            ) from None

    @classmethod
    def free(cls, data_dir: Path) -> Self:
        """A stack beside all others on this machine: its ports are free ones, then kept."""
        folder = data_dir.expanduser().resolve()
        if read_stack_file(folder):
            return cls.load(folder)
        return cls.load(folder, ports=dict(Ports.free().items()))

    def with_simulator_ports(self) -> Self:
        """This stack with a free port for each simulator: the one of last time, if it is free.

        To be called by the holder of the stack's lock, when no simulator runs.
        """
        if not self.simulators:
            return self
        kept = {
            name: port
            for name, port in self.simulator_ports.items()
            if name in SIMULATORS and _is_free(port)
        }
        missing = [name for name in SIMULATORS if name not in kept]
        own = {port for _, port in self.ports.items()} | set(kept.values())
        fresh = [port for port in free_ports(len(SIMULATORS) + len(own)) if port not in own]
        ports = {**kept, **dict(zip(missing, fresh, strict=False))}
        return self.model_copy(update={"simulator_ports": ports})

    def save(self) -> Self:
        """Write `stack.json` (mode 0600), atomically. Secrets that are in it already stay.

        To be called by the holder of the stack's lock.

        Returns:
            What is stored now: this stack, with the secrets of the file.

        Raises:
            StackError: the folder cannot be written.
        """
        self.save_new()
        kept = StackSecrets.model_validate(read_stack_file(self.data_dir).get("secrets", {}))
        stored = self.model_copy(update={"secrets": kept})
        with _writing(self.stack_file):
            write_private(self.stack_file, stored._as_text())
        return stored

    def save_new(self) -> None:
        """Write `stack.json` unless there is one: of two first starts at once, one wins."""
        make_folders(self.data_dir)
        with _writing(self.stack_file), contextlib.suppress(FileExistsError):
            write_private(self.stack_file, self._as_text(), replace=False)

    def _as_text(self) -> str:
        return json.dumps(self.model_dump(mode="json", exclude={"data_dir"}), indent=2) + "\n"

    @property
    def stack_file(self) -> Path:
        return self.data_dir / "stack.json"

    @property
    def run_dir(self) -> Path:
        """Pid files, the lock, and the state that `status` shows."""
        return self.data_dir / "run"

    @property
    def logs_dir(self) -> Path:
        return self.data_dir / "logs"

    @property
    def api_url(self) -> str:
        host = LOOPBACK if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.ports.api}"

    @property
    def api_key(self) -> str:
        """The user's own key where one is configured, else the generated one."""
        own = user_settings().api.key
        return own.get_secret_value() if own else self.secrets.api_key

    @property
    def keep_free(self) -> int | None:
        """Bytes of the disk kept free for the servers; None: the usual number, or bad settings."""
        with contextlib.suppress(StackError):
            return user_settings().disk.keep_free
        return None

    @property
    def temporal_address(self) -> str:
        return f"{LOOPBACK}:{self.ports.temporal}"

    @property
    def temporal_ui_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.temporal_ui}"

    @property
    def database_url(self) -> str:
        password = self.secrets.postgres_cortex
        return f"postgresql://cortex:{password}@{LOOPBACK}:{self.ports.postgres}/cortex"

    def environment(self) -> dict[str, str]:
        """The environment of API and worker: the user's, with the stack's own values on top.

        Settings that the stack does not own (providers, logs, limits...) pass through from the
        user's environment and configuration file.

        Raises:
            StackError: the user's settings are not valid.
        """
        settings = user_settings()
        own = {
            "CORTEX_DATA_DIR": str(self.data_dir),
            "CORTEX_DATABASE__URL": self.database_url,
            "CORTEX_TEMPORAL__ADDRESS": self.temporal_address,
            "CORTEX_TEMPORAL__UI_URL": self.temporal_ui_url,
            "CORTEX_TEMPORAL__NAMESPACE": settings.temporal.namespace,
            "CORTEX_TEMPORAL__TLS": "false",
            "CORTEX_API__HOST": self.host,
            "CORTEX_API__PORT": str(self.ports.api),
            "CORTEX_API__KEY": self.api_key,
            "CORTEX_DROP__URL": self.api_url,
            "PYTHONUNBUFFERED": "1",
        }
        if settings.encryption_keys is None:
            own["CORTEX_ENCRYPTION_KEYS"] = self.secrets.encryption_keys
        if settings.drop.secret is None:
            own["CORTEX_DROP__SECRET"] = self.secrets.drop
        if config_file().exists():
            own["CORTEX_CONFIG"] = str(config_file().resolve())
        providers = self._providers(settings)
        if providers:
            own["CORTEX_PROVIDERS"] = json.dumps(providers, default=str)
        # Settings reads names in any case: an inherited `cortex_api__port` must not win. And the
        # worker loads its workflows for every run: without cached bytecode it compiles each time.
        taken = {name.upper() for name in own} | {"PYTHONDONTWRITEBYTECODE"}
        return {**{k: v for k, v in os.environ.items() if k.upper() not in taken}, **own}

    def _providers(self, settings: Settings) -> dict[str, Any]:
        """The providers beside those that API and worker find in the settings themselves."""
        chosen = "providers" in settings.model_fields_set
        engine = None if chosen else container_socket()
        providers: dict[str, Any] = {}
        if engine is not None:
            docker = docker_entry(engine, self.secrets.drop)
            providers = {"local": {"type": "local"}, "docker": docker}
        if self.simulators:
            # The variable stands for the whole mapping: what the user has must be said again.
            own = {key: entry.model_dump(mode="json") for key, entry in settings.providers.items()}
            providers = {**own, **providers, **simulated_providers(self.simulator_urls())}
        return providers

    def simulator_urls(self) -> dict[str, str]:
        """Where the simulated networks listen, by their names; none if they do not run."""
        if not self.simulators:
            return {}
        return {
            name: f"http://{LOOPBACK}:{port}"
            for name, port in self.simulator_ports.items()
            if name in SIMULATORS
        }


def user_settings() -> Settings:
    """The settings from the user's environment and file, with errors for people."""
    try:
        return read_settings()
    except InvalidSettings as error:
        raise StackError(f"{error.detail[0].upper()}{error.detail[1:]}.") from None


def read_stack_file(data_dir: Path) -> dict[str, Any]:
    """The content of `stack.json`; empty if there is none."""
    path = data_dir / "stack.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as err:
        raise StackError(
            f"{path} cannot be read: {err.strerror}. Right that, or choose another --data-dir."
        ) from None
    except ValueError as err:
        raise StackError(f"{path} is not valid JSON ({err}); restore it from a backup.") from None
    if not isinstance(stored, dict):
        raise StackError(f"{path} is not a JSON object; restore it from a backup.")
    return stored


def make_folders(data_dir: Path) -> None:
    """Make the folder and those in it that hold private files."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("run", "logs"):
            (data_dir / name).mkdir(exist_ok=True, mode=0o700)
    except OSError as err:
        raise StackError(
            f"The data folder {data_dir} cannot be made or written: {err.strerror}. "
            "Choose another one with --data-dir."
        ) from None


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that nothing listens on."""
    ports: list[int] = []
    for port in random.sample(_FREE_PORTS, 500):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise StackError(f"No {count} free ports found between {_FREE_PORTS[0]} and {_FREE_PORTS[-1]}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as err:
        raise StackError(f"{path} cannot be written: {err.strerror}.") from None


def _problems(err: ValidationError) -> str:
    """Field by field, without the values: they may be secrets."""
    return ", ".join(f"`{error.field}` {error.message}" for error in field_errors(err))


def _refuse_lost_secrets(data_dir: Path) -> None:
    if (data_dir / "postgres" / "PG_VERSION").exists():
        raise StackError(
            f"{data_dir / 'stack.json'} is missing, but there is a database in {data_dir}. "
            "Its passwords and encryption keys were in that file: restore it from a backup, "
            "or start anew with another --data-dir."
        )
