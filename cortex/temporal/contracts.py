"""Names, inputs and messages of the workflows: the contract of everyone who starts or signals.

Handler names and fields are public and stored in histories: add fields with defaults, never
rename or remove one.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from temporalio.common import SearchAttributeKey

from cortex.domain.errors import FieldError
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.leases import PullTrouble
from cortex.domain.money import Money
from cortex.domain.offers import Offer, PriceSheet
from cortex.domain.reconcile import Finding
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, RunState

TASK_QUEUE: Final = "cortex"
JOB_WORKFLOW: Final = "Job"
MONITOR_WORKFLOW: Final = "ProviderMonitor"
QUOTE_WORKFLOW: Final = "Quote"
MAINTENANCE_WORKFLOW: Final = "Maintenance"
HEALTH_WORKFLOW: Final = "ProviderHealth"
PROVIDER_CHECK_WORKFLOW: Final = "ProviderCheck"
INSPECT_WORKFLOW: Final = "InspectProvider"
GROUP_WORKFLOW: Final = "JobGroup"
RECONCILE_WORKFLOW: Final = "Reconcile"
RESCUE_WORKFLOW: Final = "Rescue"
BUDGETS_WORKFLOW: Final = "Budgets"
SCHEDULED_WORKFLOW: Final = "Scheduled"

RECONCILE_BOOKS: Final = "reconcile:books"
"""Id of the schedule that compares jobs, groups and holds with Temporal."""

SIGNAL_LEASE_CHANGED: Final = "lease_changed"
SIGNAL_CANCEL: Final = "cancel"
SIGNAL_EXTEND: Final = "extend"
SIGNAL_LOOK: Final = "look"
"""A nudge, without content: look at the database and go on from there."""

PROVIDER: Final = SearchAttributeKey.for_keyword("CortexProvider")
STATUS: Final = SearchAttributeKey.for_keyword("CortexStatus")
USER: Final = SearchAttributeKey.for_keyword("CortexUser")
GROUP: Final = SearchAttributeKey.for_keyword("CortexGroup")
LABELS: Final = SearchAttributeKey.for_keyword_list("CortexLabels")
SEARCH_ATTRIBUTES: Final = (PROVIDER, STATUS, USER, GROUP, LABELS)


def provider_queue(provider_id: str) -> str:
    """The task queue of a provider: a network that hangs starves no other."""
    return f"provider.{provider_id}"


def monitor_id(provider_id: str) -> str:
    return f"monitor:{provider_id}"


def health_id(provider_id: str) -> str:
    """Of the schedule that checks a provider."""
    return f"health:{provider_id}"


def reconcile_id(provider_id: str) -> str:
    """Of the schedule that compares a provider's network with the lease table."""
    # `reconcile:books` is that of jobs, groups and holds; somebody may call a provider so.
    return f"reconcile:{'provider.' if provider_id == 'books' else ''}{provider_id}"


def scheduled_id(schedule_id: str) -> str:
    """Of the schedule in Temporal that fires a schedule of a user."""
    return f"schedule:{schedule_id}"


def firing_id(schedule_id: str) -> str:
    """Of the workflows that a schedule starts; Temporal puts the time behind it."""
    return f"scheduled:{schedule_id}"


def rescue_id(job_id: str) -> str:
    """Of the workflow that finishes a job whose own workflow is gone."""
    return f"rescue:{job_id}"


Mode = Literal["act", "tell", "list"]
"""`act`: close what is due. `tell`: only write down and tell. `list`: write nothing at all."""


class _Message(BaseModel):
    # Their schemas are built when they are first used: a process uses few of them.
    model_config = ConfigDict(frozen=True, defer_build=True)


class JobInput(_Message):
    """What the workflow needs to decide; everything else stays in the database.

    No secret may stand here: workflow inputs are shown in the Web UI.
    """

    job_id: str
    placement_timeout: timedelta = timedelta(minutes=10)
    retries_on_failure: int = 0
    retries_on_lost: int = 3
    backoff: timedelta = timedelta(seconds=2)
    max_backoff: timedelta = timedelta(minutes=10)
    """How long to wait before a new start: at first, and at most."""
    failover: bool = True
    heartbeat_timeout: timedelta = timedelta(seconds=15)
    safety_check: timedelta = timedelta(hours=1)
    warn_before: timedelta = timedelta(0)
    """So long before the deadline a warning is due; 0: none."""
    group_id: str | None = None
    gang: bool = False
    """It is committed together with others: after `prepare` it waits for the group's decision."""
    commit_failure: Literal["retry", "end"] = "retry"
    """Whether a commit that fails after the group's decision is tried at the next offer."""
    attempt: int = 0
    """This and the next two: carried over when the workflow continues as new."""
    failures: int = 0
    losses: int = 0


class GroupInput(_Message):
    """Everything else about a group stands in the database."""

    group_id: str
    heartbeat_timeout: timedelta = timedelta(seconds=15)


class GroupResult(_Message):
    """How a group ended."""

    state: str
    message: str = ""


class LeaseChange(_Message):
    """Signal: the monitor recorded a change of a lease. Repeated ones are harmless."""

    key: str
    version: int
    state: RunState
    exit_code: int | None = None
    message: str = ""
    image: PullTrouble = ""
    """Of a lost one: its image could not be pulled."""


class CancelSignal(_Message):
    reason: str = ""
    cause: Reason = Reason.CANCELLED
    """Anything else ends the job as `failed` with this reason, such as `over_budget`."""


class ExtendSignal(_Message):
    """Signal: the deadline is now this. Comes from the database, so the latest one counts."""

    deadline_at: datetime | None = None


class JobProgress(_Message):
    """Answer to the query `progress`."""

    state: JobState
    attempt: int = 0
    provider_id: str | None = None
    lease_key: str | None = None
    deadline_at: datetime | None = None
    undoing: str | None = None
    outcome: Outcome | None = None


class MonitorInput(_Message):
    provider_id: str
    heartbeat_timeout: timedelta = timedelta(seconds=30)


class HealthInput(_Message):
    provider_id: str
    timeout: timedelta = timedelta(seconds=15)


class HealthResult(_Message):
    status: str
    """`unknown` if no worker serves the provider's queue."""


class InspectInput(_Message):
    """What is to be told of a provider."""

    provider_id: str
    leases: bool = True
    """Whether its network is asked what it holds."""
    after: datetime | None = None
    """Only calls after this."""
    keys: tuple[str, ...] = ()
    """Only calls about these leases, or about none in particular; empty: all."""


class ProviderCheckInput(_Message):
    """Check a draft of a configuration; with `probe`, ask the network too.

    Only the draft's id: what is in it has secrets, and inputs are shown in the Web UI.
    """

    draft_id: str
    probe: bool = False


class ProviderCheckResult(_Message):
    """What is wrong with a draft, or what the network said."""

    errors: tuple[FieldError, ...] = ()
    ok: bool = True
    message: str = ""
    latency: timedelta | None = None
    network_version: str = ""
    balance: Money | None = None
    prices: PriceSheet | None = None


class QuoteInput(_Message):
    """What to ask all providers. The spec's secrets are masked."""

    spec: JobSpec
    timeout: timedelta = timedelta(seconds=10)


class ProviderAnswer(_Message):
    """What one provider says to a spec: offers, or why there are none."""

    provider_id: str
    offers: tuple[Offer, ...] = ()
    reasons: tuple[str, ...] = ()
    for_good: bool = False
    """The spec is why, so asking again will not help."""


class OfferStanding(_Message):
    """Where an offer stands in the ranking, and what that is built on."""

    score: Decimal
    why: str = ""
    availability: Decimal = Decimal(1)
    availability_source: str = ""
    wait: timedelta = timedelta(0)
    wait_source: str = ""
    notes: tuple[str, ...] = ()


class QuoteResult(_Message):
    """Offers ranked by the spec's strategy, and why the rest is not offered."""

    offers: tuple[Offer, ...] = ()
    standings: tuple[OfferStanding, ...] = ()
    """One for each offer, in the same order."""
    note: str = ""
    """What is to be said of the ranking as a whole, such as a strategy that failed."""
    rejected: tuple[ProviderAnswer, ...] = ()
    usd_rates: dict[str, Decimal] = Field(default_factory=dict)


class ReconcileInput(_Message):
    providers: tuple[str, ...] = ()
    """Whose networks are asked."""
    books: bool = False
    """Whether jobs, groups and holds are looked at."""
    mode: Mode = "act"
    again: bool = False
    """Whether to wait for what is not due yet, and look once more then."""
    wait: timedelta = timedelta(seconds=30)
    """How long a provider's queue may leave the question lying; then nobody serves it."""


class ScopeInput(_Message):
    """One part of a run: a provider, or without one the books."""

    provider_id: str | None = None
    mode: Mode = "act"


class SeenFinding(_Message):
    """A finding of this run, and what became of it."""

    finding: Finding
    done: str = ""
    """What was done about it in this run; empty: nothing yet."""
    next: str = ""
    """What Cortex does about it."""
    due_at: datetime | None = None
    """When something is done about it, if that is to come."""


class ScopeResult(_Message):
    """What one part of a run came to."""

    provider_id: str | None = None
    error: str = ""
    """Why it came to nothing: no finding is opened or closed then."""
    checked: int = 0
    """How many leases, jobs, groups and holds were looked at."""
    findings: tuple[SeenFinding, ...] = ()
    more: int = 0
    """Findings that are not named here."""


class ReconcileResult(_Message):
    mode: Mode = "act"
    scopes: tuple[ScopeResult, ...] = ()
    finished_at: datetime | None = None


class RescueInput(_Message):
    job_id: str
    heartbeat_timeout: timedelta = timedelta(seconds=15)


class RescueResult(_Message):
    """`state` is the job's at the end; without one nothing was done, and `message` says why."""

    state: JobState | None = None
    message: str = Field(default="")


class ScheduledInput(_Message):
    """Everything else about a schedule stands in the database.

    Attributes:
        revision: Of the row from which Temporal's schedule was made.
    """

    schedule_id: str
    revision: int = 0


class FiringInput(_Message):
    """One time of a schedule."""

    schedule_id: str
    due_at: datetime


class FiringResult(_Message):
    """What became of it: the state of the run, and the id of its job or group."""

    state: str
    made: str | None = None
    message: str = ""
