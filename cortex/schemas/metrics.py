"""What jobs took of their machines, as the API shows it."""

from datetime import datetime

from pydantic import Field

from cortex.domain.metrics import Metric
from cortex.schemas._view import View


class SpreadView(View):
    """The least, the average and the most within a step."""

    min: float
    avg: float
    max: float


class MetricPoint(View):
    """What was measured within a step, which begins at `time`; null: it was not told.

    Sums are those of the attempt since its start, at the end of the step.
    """

    time: datetime
    attempt: int
    cpu: SpreadView | None = Field(default=None, description="Cores in use.")
    memory: SpreadView | None = Field(default=None, description="Bytes in use.")
    gpu: SpreadView | None = Field(default=None, description="Percent in use.")
    gpu_memory: SpreadView | None = Field(default=None, description="Bytes in use.")
    cpu_seconds: float | None = Field(default=None, description="Sum, of all cores together.")
    network_received: int | None = Field(default=None, description="Sum, bytes.")
    network_sent: int | None = Field(default=None, description="Sum, bytes.")
    disk_read: int | None = Field(default=None, description="Sum, bytes.")
    disk_written: int | None = Field(default=None, description="Sum, bytes.")


class JobMetrics(View):
    """What a job took of its machine, oldest first."""

    job_id: str
    provider_id: str | None = Field(default=None, description="Of the newest attempt.")
    reported: tuple[Metric, ...] = Field(
        default=(), description="What this provider tells of running jobs."
    )
    note: str = Field(default="", description="Why there are no points, where there are none.")
    since: datetime
    until: datetime
    step: int = Field(
        description="Seconds from one point to the next: as asked for, or as many as it takes to "
        "have at most 1,000 points."
    )
    points: tuple[MetricPoint, ...] = ()


class ResourcesUsed(View):
    """What a job has used in all, over all of its attempts."""

    cpu_seconds: float | None = None
    memory_peak: int | None = Field(
        default=None, description="The most bytes that were seen in use."
    )
