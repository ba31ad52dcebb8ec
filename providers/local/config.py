"""What can be configured about the local provider."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field

from cortex.settings import Bytes, Duration
from providers.base import ComputePrices, ProviderConfig


class LocalConfig(ProviderConfig):
    state_dir: Path | None = Field(
        default=None,
        description="Folder of the leases; default: `providers/<id>` in Cortex's data folder.",
    )
    isolation: Literal["auto", "bubblewrap", "none"] = Field(
        default="auto", description="`auto`: bubblewrap if it works here, else none."
    )
    network: Literal["host", "none"] = Field(
        default="host", description="`none` cuts jobs off the network; it needs bubblewrap."
    )
    read_only_paths: tuple[Path, ...] = Field(
        default=(), description="More of this machine that sandboxed jobs may read."
    )
    prices: ComputePrices = Field(default_factory=ComputePrices)
    max_jobs: int = Field(default=256, ge=1, description="Leases at once, about; then no capacity.")
    max_log_bytes: Bytes = Field(
        default=16 * 2**20, ge=2**20, description="Per job: the first quarter and the newest rest."
    )
    keep_free: Bytes | None = Field(
        default=None,
        ge=0,
        description="Of the state folder's disk: with less, no job is started, and of those that "
        "run the largest is ended; default: 5 % of it, 64 to 256 MiB.",
    )
    stop_grace: Duration = Field(
        default=timedelta(seconds=5), description="From SIGTERM to SIGKILL."
    )
    nice: int = Field(default=5, ge=0, le=19, description="Scheduling priority of jobs.")
    abandoned_after: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(minutes=1),
        description="A job this long over its duration, with no worker about, ends itself.",
    )
