"""What the engine's answers look like, as far as they are read here."""

import re
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_pascal

_TIME = re.compile(
    r"(?P<base>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(?P<part>\d{1,9})\d*)?(?P<zone>Z|[-+]\d\d:\d\d)"
)


_CLEANUP = timedelta(seconds=5)


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_pascal, populate_by_name=True)


class Component(_Wire):
    name: str = ""


class Version(_Wire):
    """`GET /version`."""

    version: str = ""
    api_version: str = "1.41"
    components: tuple[Component, ...] | None = None

    @property
    def is_podman(self) -> bool:
        return any("podman" in part.name.lower() for part in self.components or ())

    def __str__(self) -> str:
        return f"{'Podman' if self.is_podman else 'Docker'} {self.version}"


class Info(_Wire):
    """`GET /info`."""

    ncpu: int = Field(default=0, alias="NCPU")
    mem_total: int = 0
    runtimes: dict[str, object] | None = None
    containers_running: int = 0
    images: int = 0
    driver: str = ""
    docker_root_dir: str = ""


class State(_Wire):
    """The state of a container. `ran` tells whether its command was ever started."""

    status: str = ""
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = Field(default=False, alias="OOMKilled")
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @field_validator("started_at", "finished_at", mode="before")
    @classmethod
    def _engine_time(cls, value: object) -> datetime | None:
        return parse_time(value) if isinstance(value, str) else None

    @property
    def ran(self) -> bool:
        return self.started_at is not None

    @property
    def over(self) -> bool:
        """Its processes are gone."""
        return self.status in ("exited", "stopped", "dead", "removing")

    @property
    def ended(self) -> bool:
        """It is over, and its log is complete.

        Podman says `stopped` until its monitor process has written the last of the log and cleaned
        up. Should that one have been killed, the state stays, so it counts after a while.
        """
        if self.status != "stopped":
            return self.over
        return self.finished_at is None or datetime.now(UTC) - self.finished_at > _CLEANUP

    @property
    def waiting(self) -> bool:
        """Created, and not started since (Podman has more than one word for it)."""
        return self.status in ("created", "configured", "initialized", "")


class ContainerConfig(_Wire):
    image: str = ""
    labels: dict[str, str] | None = None
    working_dir: str = ""


class Binding(_Wire):
    host_ip: str = ""
    host_port: str = ""


class NetworkSettings(_Wire):
    ports: dict[str, list[Binding] | None] | None = None


class Container(_Wire):
    """`GET /containers/{id}/json`."""

    id: str
    name: str = ""
    state: State = Field(default_factory=State)
    config: ContainerConfig = Field(default_factory=ContainerConfig)
    network_settings: NetworkSettings = Field(default_factory=NetworkSettings)

    @property
    def labels(self) -> dict[str, str]:
        return self.config.labels or {}


class Listed(_Wire):
    """One entry of `GET /containers/json`; `size`, in bytes, where it was asked for."""

    id: str
    state: str = ""
    labels: dict[str, str] | None = None
    size_rw: int | None = None

    @property
    def size(self) -> int:
        return self.size_rw or 0


class _Figures(BaseModel):
    """A part of `GET /containers/{id}/stats`, whose names are lower case."""

    model_config = ConfigDict(frozen=True)


class CpuUsage(_Figures):
    total_usage: int = 0


class CpuStats(_Figures):
    cpu_usage: CpuUsage = Field(default_factory=CpuUsage)


class MemoryStats(_Figures):
    """`stats` has the parts of it by the names of the control group; Podman leaves it out."""

    usage: int | None = None
    stats: dict[str, int] | None = None

    @property
    def used(self) -> int | None:
        """Without the pages of files that nobody uses now, as Docker's own command shows it."""
        if self.usage is None:
            return None
        parts = self.stats or {}
        idle = parts.get("inactive_file", parts.get("total_inactive_file", 0))
        return self.usage - idle if idle < self.usage else self.usage


class BlockEntry(_Figures):
    op: str = ""
    value: int = 0


class BlockStats(_Figures):
    io_service_bytes_recursive: tuple[BlockEntry, ...] | None = None

    def sum(self, op: str) -> int | None:
        """Bytes of `read` or `write` over all devices; None where the engine counts nothing."""
        entries = self.io_service_bytes_recursive
        if entries is None:
            return None
        return sum(entry.value for entry in entries if entry.op.lower() == op)


class NetworkStats(_Figures):
    rx_bytes: int = 0
    tx_bytes: int = 0


class Stats(_Figures):
    """`GET /containers/{id}/stats`. Of one that has ended meanwhile, Docker's are all zero."""

    cpu_stats: CpuStats = Field(default_factory=CpuStats)
    memory_stats: MemoryStats = Field(default_factory=MemoryStats)
    blkio_stats: BlockStats = Field(default_factory=BlockStats)
    networks: dict[str, NetworkStats] | None = None


class Volume(_Wire):
    name: str
    labels: dict[str, str] | None = None


class Volumes(_Wire):
    """`GET /volumes`."""

    volumes: tuple[Volume, ...] | None = None


def parse_time(text: str) -> datetime | None:
    """An engine's time (up to nanoseconds) in UTC; None for its zero time."""
    match = _TIME.fullmatch(text.strip())
    if match is None or match["base"].startswith("0001-"):
        return None
    micros = (match["part"] or "0")[:6].ljust(6, "0")
    return datetime.fromisoformat(f"{match['base']}.{micros}{match['zone']}").astimezone(UTC)
