"""Jobs as the API takes and shows them: lists, views, quotes, lines, files."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from cortex.domain.jobs import Reason
from cortex.domain.leases import Endpoint
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.quantities import Duration
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.domain.spec import JobSpec, Weights
from cortex.domain.spec.extensions import EXTENSION_SCHEMA, without_extensions
from cortex.domain.spec.rules import span
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.domain.templates import TemplateRef
from cortex.schemas._view import View
from cortex.schemas.metrics import ResourcesUsed


class CostSoFar(Money):
    """What a job with a running lease has cost until now: in USD, at the rates of its bills."""

    estimated: bool = Field(
        default=False, description="Reckoned as price times time: its network does not say."
    )
    as_of: datetime | None = None


class LeaseView(View):
    key: str
    attempt: int
    provider_id: str
    state: LeaseState
    run_state: RunState | None = None
    exit_code: int | None = None
    message: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    price_per_hour: Money
    created_at: datetime
    committed_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    released_at: datetime | None = None
    cost: Money | None = None
    usage: Money | None = Field(
        default=None, description="What it cost when its network was last asked, while it ran."
    )
    usage_at: datetime | None = None
    usage_estimated: bool = Field(
        default=False, description="Reckoned as price times time: its network did not say."
    )
    unknown_since: datetime | None = Field(
        default=None, description="Since when its network says nothing of it."
    )
    unknown_reason: str = ""


class StatusChange(View):
    state: JobState
    attempt: int
    message: str = ""
    time: datetime


class JobSummary(View):
    """A job as it stands in a list."""

    id: str
    name: str
    owner: str
    project: str = ""
    state: JobState
    reason: Reason | None = None
    message: str = ""
    exit_code: int | None = None
    attempt: int = 0
    provider_id: str | None = None
    progress: Decimal | None = Field(default=None, description="From 0 to 1.")
    labels: dict[str, str] = Field(default_factory=dict)
    cost: Money = Field(description="What is billed, in USD.")
    cost_so_far: CostSoFar | None = Field(
        default=None, description="With what its running lease has cost until now; none: `cost`."
    )
    unknown_since: datetime | None = Field(
        default=None,
        description="Since when its network says nothing of it. As far as anybody knows it is as "
        "`state` says.",
    )
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    group_id: str | None = None
    member: str | None = Field(default=None, description="Its name in its group.")


class JobView(JobSummary):
    """A job with everything that is known of it; secrets are masked."""

    spec: JobSpec
    leases: tuple[LeaseView, ...] = ()
    history: tuple[StatusChange, ...] = ()
    extension: Duration = Field(default=timedelta(0), description="By which it was extended.")
    losses: int = Field(default=0, description="New starts after a network lost the lease.")
    failures: int = Field(default=0, description="New starts after the command failed.")
    restarted_at: datetime | None = Field(
        default=None, description="When it was last started anew, after a loss or a failure."
    )
    warned_at: datetime | None = Field(
        default=None, description="When it was told that this deadline is near."
    )
    template: TemplateRef | None = Field(
        default=None, description="The template that it was made from."
    )
    resources_used: ResourcesUsed | None = Field(
        default=None,
        description="Once it has ended, as far as its providers told it and it is still kept.",
    )
    log_bytes: int = 0
    log_dropped_bytes: int = 0
    cancel_requested_at: datetime | None = None
    temporal_url: str | None = Field(default=None, description="The run in Temporal's Web UI.")


class JobPage(View):
    items: tuple[JobSummary, ...]
    next_cursor: str | None = None


class FramePage(View):
    """The frames of a render job, in order, with sums over all of them."""

    items: tuple[FrameStatus, ...]
    next_cursor: str | None = None
    total: int
    counts: dict[FrameState, int]
    cost: tuple[Money, ...] = Field(
        default=(), description="What the frames cost so far, a sum for each currency."
    )


class BatchRequest(BaseModel):
    """Up to 1,000 jobs: all are accepted or none."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=EXTENSION_SCHEMA)

    jobs: Annotated[list[JobSpec], Field(min_length=1, max_length=1000)]

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return without_extensions(value)


class AcceptedJob(View):
    id: str
    name: str
    state: JobState


class BatchAccepted(View):
    jobs: tuple[AcceptedJob, ...]


class ProviderObjection(View):
    """Why a provider is not offered."""

    provider_id: str
    reasons: tuple[str, ...]


class CostEstimate(View):
    provider_id: str
    price_per_hour: Money
    most: Money = Field(description="For the whole duration of one attempt.")


class Validation(View):
    """The normalised spec, who could run it and what it may cost."""

    spec: JobSpec
    estimates: tuple[CostEstimate, ...]
    objections: tuple[ProviderObjection, ...]
    notes: tuple[str, ...] = Field(
        default=(), description="How sizes were read that have other units, such as `4GB`."
    )


class RankedOffer(View):
    """An offer in its place, with all that the place is built on."""

    rank: int
    offer: Offer
    most: Money = Field(description="For the whole duration of one attempt.")
    usd_per_hour: Decimal = Field(description="The price at the network's own rate.")
    score: Decimal | None = Field(default=None, description="The higher, the better.")
    why: str = ""
    availability: Decimal | None = Field(
        default=None, description="From 0 to 1; measured where something was measured."
    )
    availability_source: str = Field(default="", description="What that number is built on.")
    wait: timedelta | None = Field(default=None, description="Until the job runs, as expected.")
    wait_source: str = Field(default="", description="What that number is built on.")
    notes: tuple[str, ...] = Field(default=(), description="Such as a rate that is old.")


class Quote(View):
    strategy: str
    weights: Weights | None = Field(
        default=None, description="Of the sides of an offer; none: the strategy is a plugin's."
    )
    own_weights: bool = Field(default=False, description="The job brought the weights.")
    note: str = Field(default="", description="What is to be said of the whole ranking.")
    offers: tuple[RankedOffer, ...]
    objections: tuple[ProviderObjection, ...]


class CancelRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=500)


class ExtendRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    duration: Annotated[
        Duration, WithJsonSchema(span(timedelta(seconds=1), timedelta(days=90)))
    ] = Field(description="How much longer, such as `30m`.")


class LogEntry(View):
    """One line of a job's output; `cursor` resumes after it.

    `partial`: it has begun and has not ended, and this is what there is of it now; `cursor` is the
    place before it.
    """

    cursor: str
    time: datetime
    attempt: int
    stream: Literal["stdout", "stderr", "cortex"]
    text: str
    partial: bool = False


class LogPage(View):
    """`partial`: lines that have begun and not ended, where the page goes to the end."""

    lines: tuple[LogEntry, ...]
    partial: tuple[LogEntry, ...] = ()
    next_cursor: str | None = None
    dropped_bytes: int = 0


class OutputView(View):
    """A result file, or a folder that is empty: that has no content and no `sha256`."""

    path: str
    size: int
    sha256: str
    attempt: int
    created_at: datetime
    kind: Literal["file", "folder"] = "file"
    raw_path: str | None = Field(
        default=None,
        description="The path that the job gave, percent-encoded, where it is no printable text.",
    )


class LeftOutView(View):
    """Something that a job declared as an output and that is not kept."""

    path: str
    reason: str = Field(description="Ends a sentence that begins with the path.")
    raw_path: str | None = Field(
        default=None,
        description="The path that the job gave, percent-encoded, where it is no printable text.",
    )
