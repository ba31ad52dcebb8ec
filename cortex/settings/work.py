"""Sections about what workers do: jobs, placement, watching, reconciling, keeping."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
)

from cortex.domain.spec import Weights
from cortex.settings.base import Bytes, Duration, LogLevel, Section


class WorkerSettings(Section):
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


class JobSettings(Section):
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
    metrics_interval: Duration = Field(
        default=timedelta(seconds=15),
        ge=timedelta(0),
        description="How often networks are asked what running jobs take of their machines, where "
        "they tell it; 0: never.",
    )


class StrategyWeights(Section):
    """What each strategy weighs, unless a job brings weights of its own."""

    cost: Weights = Weights(cost=Decimal(1))
    performance: Weights = Weights(performance=Decimal(9), cost=Decimal(1))
    availability: Weights = Weights(availability=Decimal(9), cost=Decimal(1))


class PlacementSettings(Section):
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


class MonitorSettings(Section):
    heartbeat_timeout: Duration = Field(default=timedelta(seconds=30))
    tell_after: Duration = Field(
        default=timedelta(seconds=10),
        description="A network that is silent for so long is told to the jobs that run there.",
    )
    max_follows: int = Field(default=200, ge=0, description="Log streams followed at once.")


class ReconcileSettings(Section):
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


class BudgetSettings(Section):
    check_every: Duration = Field(
        default=timedelta(minutes=1),
        description="How often budgets are looked at: rates, alerts, jobs to be stopped.",
    )
    usage_every: Duration = Field(
        default=timedelta(minutes=1),
        description="How often a network is asked what a running lease has cost, at most.",
    )


class LogSettings(Section):
    max_bytes: Bytes = Field(
        default=8 * 2**20, description="Kept per job: the first quarter and the newest rest."
    )
    retention: Duration = Field(
        default=timedelta(days=30), ge=timedelta(hours=1), description="After the job has ended."
    )


class DropSettings(Section):
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


class DiskSettings(Section):
    keep_free: Bytes | None = Field(
        default=None,
        ge=0,
        description="Kept free on the data folder's disk, for the servers: with less, local jobs "
        "are ended, the largest first, and results are kept only as far as half of it stays free; "
        "default: 5 % of the disk, 64 to 256 MiB.",
    )


class RetentionSettings(Section):
    events: Duration = Field(
        default=timedelta(days=90), ge=timedelta(hours=1), description="Of history tables."
    )
    metrics: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(hours=1),
        description="Of what jobs took of their machines; deleted by whole days (UTC).",
    )


class TelemetrySettings(Section):
    log_level: LogLevel = Field(default="INFO", description="`DEBUG`, `INFO`, `WARNING`, `ERROR`.")
    log_format: str = Field(default="json", pattern="^(json|console)$")
    metrics_port: int | None = Field(default=None, description="Prometheus metrics of the worker.")
    otlp_endpoint: str | None = Field(
        default=None, description="Collector of traces, such as http://127.0.0.1:4318/v1/traces."
    )
