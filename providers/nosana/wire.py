"""What the deployment API answers, as far as it is used. Field names are the network's own."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

DeploymentStatus = Literal[
    "DRAFT",
    "STARTING",
    "RUNNING",
    "STOPPING",
    "STOPPED",
    "ERROR",
    "INSUFFICIENT_FUNDS",
    "ARCHIVED",
]
JobState = Literal["QUEUED", "RUNNING", "COMPLETED", "STOPPED"]
_CHAIN_STATES: dict[int, JobState] = {0: "QUEUED", 1: "RUNNING", 2: "COMPLETED", 3: "STOPPED"}


def _state(value: Any) -> Any:
    """Job states come by name or as the number that the chain has for them."""
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    return _CHAIN_STATES.get(value, value) if isinstance(value, int) else value


def _decimal(value: Any) -> Any:
    """Prices are typed as anything at all: numbers, texts."""
    return str(value) if isinstance(value, float) else value


Money = Annotated[Decimal, BeforeValidator(_decimal)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Endpoint(_Model):
    opId: str = ""
    port: int | str
    url: str


class Deployment(_Model):
    id: str
    name: str
    market: str
    status: DeploymentStatus
    timeout: int
    endpoints: tuple[Endpoint, ...] = ()
    active_jobs: int = 0
    """Those that run; one that waits in a queue does not count."""
    created_at: datetime


class Pagination(_Model):
    cursor_next: str | None = None


class DeploymentPage(_Model):
    deployments: tuple[Deployment, ...]
    pagination: Pagination


class Job(_Model):
    """A run of a deployment, as it stands in lists. `time_start` is in Unix seconds, 0: not yet."""

    job: str
    state: Annotated[JobState, BeforeValidator(_state)]
    time_start: int = 0
    created_at: datetime | None = None

    @property
    def final(self) -> bool:
        return self.state in ("COMPLETED", "STOPPED")


class JobPage(_Model):
    jobs: tuple[Job, ...]
    pagination: Pagination = Pagination()


class LogPart(_Model):
    type: Literal["stdin", "stdout", "stderr", "nodeerr"]
    log: str = ""
    timestamp: str | None = None


class Reason(_Model):
    hostShutDown: bool = False
    jobStopped: bool = False
    jobExpired: bool = False
    reason: str = ""


class ContainerState(_Model):
    OOMKilled: bool = False
    ExitCode: int | None = None
    Error: str = ""


class Diagnostics(_Model):
    reason: Reason = Reason()
    state: ContainerState | None = None


class OpError(_Model):
    event: str = ""
    message: str = ""


class OpState(_Model):
    """How one operation ended. `providerId` is its container: without one nothing has run."""

    operationId: str | None = None
    providerId: str | None = None
    status: str | None = None
    startTime: int | None = None
    endTime: int | None = None
    exitCode: int | None = None
    logs: tuple[LogPart, ...] = ()
    errors: tuple[OpError, ...] = ()
    error: OpError | None = None
    diagnostics: Diagnostics = Diagnostics()


class JobResults(_Model):
    """What a node has posted. `status` is the flow's: it is `success` whatever the command did."""

    status: str = ""
    opStates: tuple[OpState, ...] = ()


class JobDetail(_Model):
    """One run with its result. Times are in Unix seconds, 0: not yet."""

    state: Annotated[JobState, BeforeValidator(_state)]
    node: str = ""
    timeStart: int = 0
    timeEnd: int = 0
    jobDefinition: dict[str, Any] = Field(default_factory=dict)
    jobResult: JobResults | None = None

    @property
    def final(self) -> bool:
        return self.state in ("COMPLETED", "STOPPED")

    @property
    def began(self) -> datetime | None:
        return datetime.fromtimestamp(self.timeStart, UTC) if self.timeStart else None

    @property
    def ended(self) -> datetime | None:
        return datetime.fromtimestamp(self.timeEnd, UTC) if self.timeEnd else None


class Market(_Model):
    address: str
    slug: str = ""
    name: str = ""
    type: str
    gpu_types: tuple[str, ...] = ()
    lowest_vram: float | None = None
    usd_reward_per_hour: Money
    network_fee_percentage: Money = Decimal(0)
    nodes: tuple[Any, ...] | None = None


class Balance(_Model):
    assignedCredits: Money
    reservedCredits: Money = Decimal(0)
    settledCredits: Money = Decimal(0)

    @property
    def available(self) -> Decimal:
        return self.assignedCredits - self.reservedCredits - self.settledCredits
