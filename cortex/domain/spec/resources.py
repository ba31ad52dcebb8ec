"""What a job needs of a machine: cores, memory, GPUs, ports, volumes."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from cortex.domain.quantities import Bytes, Cores
from cortex.domain.spec.parts import Part, ShortText, container_path


class Gpu(Part):
    count: int = Field(default=1, ge=1, le=64)
    vendor: Literal["nvidia", "amd", "intel"] = "nvidia"
    model: ShortText | None = Field(default=None, description="Such as `a100`; any when absent.")


class Resources(Part):
    cpu: Cores = Field(default=Decimal("0.5"), description="Cores, or millicores as `250m`.")
    memory: Annotated[Bytes, Field(ge=4 * 2**20, le=64 * 2**40)] = Field(default=256 * 2**20)
    storage: Annotated[Bytes, Field(ge=0, le=1024 * 2**40)] = Field(
        default=2**30, description="Scratch space of the job."
    )
    gpu: Gpu | None = None
    pids: int = Field(default=512, ge=1, le=1_000_000, description="Most processes and threads.")


class Port(Part):
    port: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"
    name: ShortText | None = None
    public: bool = True


class Volume(Part):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    path: str
    size: Annotated[Bytes, Field(ge=2**20, le=1024 * 2**40)] = Field(default=2**30)
    persistent: bool = Field(default=False, description="Keep it when the lease is released.")

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return container_path(value)
