"""Jobs and groups, their leases and members."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import strawberry

from api.graphql.access import guarded, resolved, shown
from api.graphql.arguments import moment
from api.graphql.context import Asked, Part
from api.graphql.pages import DEFAULT, Connection, connection, counted
from api.graphql.scalars import Amount, Json, Long, Row, Time
from api.graphql.types.events import Event, event_page, position_of
from api.graphql.types.metrics import JobMetrics, ResourcesUsed
from api.graphql.types.money import CostSoFar, LedgerEntry, Money
from api.graphql.types.providers import Provider
from cortex.domain.groups.states import GroupState
from cortex.domain.jobs import Reason
from cortex.domain.metrics import MOST_POINTS, USUAL_POINTS
from cortex.domain.rights import Action
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.services.jobs.metrics import Asked as Metrics

for _choice in (GroupState, JobState, LeaseState, Reason, RunState):
    strawberry.enum(_choice)


def _detail(name: str) -> Callable[[Any, Asked], Awaitable[Any]]:
    """A resolver of what a list does not read: read for all entries at once."""

    async def resolve(root: Any, info: Asked) -> Any:
        row: Row = root
        if name not in row:
            loaders = info.context.loaders
            loader = loaders.groups if row["id"].startswith("grp_") else loaders.jobs
            row = await loader.load(row["id"]) or {}
        return row.get(name)

    return resolve


def detail(name: str, kind: Any, description: str | None = None) -> Any:
    """A field of what a list does not read."""
    return strawberry.field(_detail(name), graphql_type=kind, description=description)


@shown(Action.JOBS_READ)
@strawberry.type
class Endpoint:
    port: int
    url: str


@shown(Action.JOBS_READ)
@strawberry.type(description="The template that something was made from.")
class TemplateRef:
    id: strawberry.ID
    name: str
    version: int


@shown(Action.JOBS_READ)
@strawberry.type(description="One attempt to run a job at one provider; what costs money.")
class Lease:
    key: strawberry.ID
    attempt: int
    provider_id: str
    state: LeaseState
    run_state: RunState | None
    exit_code: int | None
    message: str
    endpoints: list[Endpoint]
    price_per_hour: Money
    created_at: Time
    committed_at: Time | None
    started_at: Time | None
    finished_at: Time | None
    released_at: Time | None
    cost: Money | None
    usage: Money | None
    usage_at: Time | None
    usage_estimated: bool
    unknown_since: Time | None
    unknown_reason: str

    @guarded(Action.PROVIDERS_READ, Provider | None, "Where it is.")
    async def provider(self, info: Asked) -> Any:
        row: Any = self
        return await info.context.loaders.providers.load(row["provider_id"])


@shown(Action.JOBS_READ)
@strawberry.type(description="A state that a job came into.")
class StatusChange:
    state: JobState
    attempt: int
    message: str
    time: Time


@shown(Action.JOBS_READ)
@strawberry.type(description="What was asked for: a spec, a lifecycle, a bill.")
class Job:
    id: strawberry.ID
    name: str
    owner: str
    project: str
    state: JobState
    reason: Reason | None
    message: str
    exit_code: int | None
    attempt: int
    provider_id: str | None
    progress: Amount | None = strawberry.field(description="From 0 to 1.")
    labels: Json
    cost: Money = strawberry.field(description="What is billed, in USD.")
    cost_so_far: CostSoFar | None
    unknown_since: Time | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    deadline_at: Time | None
    group_id: strawberry.ID | None
    member: str | None
    spec: Json = detail("spec", Json, "Secrets are masked.")
    leases: list[Lease] = detail("leases", list[Lease])
    history: list[StatusChange] = detail("history", list[StatusChange])
    extension: Long = detail("extension", Long, "Seconds by which it was extended.")
    losses: int = detail("losses", int)
    failures: int = detail("failures", int)
    restarted_at: Time | None = detail("restarted_at", Time | None)
    warned_at: Time | None = detail("warned_at", Time | None)
    template: TemplateRef | None = detail("template", TemplateRef | None)
    resources_used: ResourcesUsed | None = detail("resources_used", ResourcesUsed | None)
    log_bytes: Long = detail("log_bytes", Long)
    log_dropped_bytes: Long = detail("log_dropped_bytes", Long)
    cancel_requested_at: Time | None = detail("cancel_requested_at", Time | None)
    temporal_url: str | None = detail("temporal_url", str | None)

    @resolved(
        Annotated["Group", strawberry.lazy("api.graphql.types.jobs")] | None,
        "The group that it is a member of.",
    )
    async def group(self, info: Asked) -> Any:
        row: Any = self
        name = row.get("group_id")
        return await info.context.loaders.groups.load(name) if name else None

    @guarded(
        Action.MONEY_READ,
        list[LedgerEntry] | None,
        "Its first 100 holds, charges and releases, oldest first; `ledger(job:)` has all.",
        inside=True,
    )
    async def charges(self, info: Asked) -> Any:
        row: Any = self
        return await info.context.loaders.charges.load(row["id"])

    @resolved(JobMetrics, "What it took of its machine, in about so many steps of time.")
    async def metrics(
        self,
        info: Asked,
        first: int = USUAL_POINTS,
        since: Time | None = None,
        until: Time | None = None,
    ) -> Any:
        row: Any = self
        points = counted(first, most=MOST_POINTS)
        asked = Metrics(moment("since", since), moment("until", until), points=points)
        return await info.context.loaders.metrics.load((row["id"], asked))

    @resolved(Connection[Event], "What happened to it, oldest first.")
    async def events(self, info: Asked, first: int = DEFAULT, after: str | None = None) -> Any:
        row: Any = self
        limit = counted(first)
        page = await info.context.loaders.events.load(Part(row["id"], after, limit))
        return connection(event_page(page), position_of, limit=limit)


@shown(Action.JOBS_READ)
@strawberry.type(description="Members that begin together, and what was decided about them.")
class Gang:
    gang: int
    members: int
    decision: str | None
    reason: str
    started_at: Time | None
    deadline_at: Time | None
    decided_at: Time | None


@shown(Action.JOBS_READ)
@strawberry.type(description="A member of a group: a job, by its name in the group.")
class Member:
    id: strawberry.ID
    member: str
    name: str
    gang: int
    state: JobState
    waiting: bool
    reason: Reason | None
    message: str
    exit_code: int | None
    attempt: int
    provider_id: str | None
    needs: list[str]
    cost: Money
    started_at: Time | None
    finished_at: Time | None

    @resolved(Job | None, "All of it.")
    async def job(self, info: Asked) -> Any:
        row: Any = self
        return await info.context.loaders.jobs.load(row["id"])


def _id_of(row: Row) -> str:
    name: str = row["id"]
    return name


@shown(Action.JOBS_READ)
@strawberry.type(description="Jobs that are committed together or not at all.")
class Group:
    id: strawberry.ID
    name: str
    owner: str
    project: str
    state: GroupState
    reason: Reason | None
    message: str
    labels: Json
    total: int
    counts: Json = strawberry.field(description="Members by the state of their job.")
    waiting: int
    cost: Money
    created_at: Time
    updated_at: Time
    finished_at: Time | None
    cancel_requested_at: Time | None
    spec: Json = detail("spec", Json, "Secrets are masked.")
    gangs: list[Gang] = detail("gangs", list[Gang])
    template: TemplateRef | None = detail("template", TemplateRef | None)
    temporal_url: str | None = detail("temporal_url", str | None)

    @resolved(Connection[Member], "In the order of the group's spec.")
    async def members(
        self,
        info: Asked,
        first: int = DEFAULT,
        after: str | None = None,
        states: list[JobState] | None = None,
    ) -> Any:
        row: Any = self
        limit = counted(first)
        part = Part(row["id"], after, limit, tuple(states or ()))
        page = await info.context.loaders.members.load(part)
        return connection(page, _id_of, limit=limit)
