"""What jobs took of their machines."""

import strawberry

from api.graphql.access import plain, shown
from api.graphql.scalars import Long, Time
from cortex.domain.rights import Action


@plain
@strawberry.type(description="The least, the average and the most within a step.")
class Spread:
    min: float
    avg: float
    max: float


@shown(Action.JOBS_READ)
@strawberry.type(
    description="What was measured within a step, which begins at `time`. Sums are those of the "
    "attempt since its start, at the end of the step."
)
class MetricPoint:
    time: Time
    attempt: int
    cpu: Spread | None = strawberry.field(description="Cores in use.")
    memory: Spread | None = strawberry.field(description="Bytes in use.")
    gpu: Spread | None = strawberry.field(description="Percent in use.")
    gpu_memory: Spread | None = strawberry.field(description="Bytes in use.")
    cpu_seconds: float | None = strawberry.field(description="Sum, of all cores together.")
    network_received: Long | None = strawberry.field(description="Sum, bytes.")
    network_sent: Long | None = strawberry.field(description="Sum, bytes.")
    disk_read: Long | None = strawberry.field(description="Sum, bytes.")
    disk_written: Long | None = strawberry.field(description="Sum, bytes.")


@shown(Action.JOBS_READ)
@strawberry.type(description="What a job took of its machine over time.")
class JobMetrics:
    reported: list[str] = strawberry.field(
        description="What the job's provider tells of running jobs."
    )
    note: str = strawberry.field(description="Why there are no points, where there are none.")
    since: Time
    until: Time
    step: int = strawberry.field(description="Seconds from one point to the next.")
    nodes: list[MetricPoint] = strawberry.field(description="Oldest first.")


@shown(Action.JOBS_READ)
@strawberry.type(description="What a job has used in all, over all of its attempts.")
class ResourcesUsed:
    cpu_seconds: float | None
    memory_peak: Long | None = strawberry.field(description="The most bytes that were seen in use.")
