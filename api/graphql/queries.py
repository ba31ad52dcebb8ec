"""What may be asked for."""

from typing import Any

import orjson
import strawberry

from api.access import narrowed
from api.graphql.access import guarded, shown
from api.graphql.arguments import cursor_of, group_id, job_id, labels_of, moment, named
from api.graphql.context import Asked, Context
from api.graphql.pages import DEFAULT, Connection, by_time, connection, counted, rows_of
from api.graphql.scalars import Row, Time
from api.graphql.team_queries import TeamQuery
from api.graphql.types.events import Event, event_page, position_of
from api.graphql.types.jobs import Group, Job
from api.graphql.types.money import Budget, CostReport, LedgerEntry
from api.graphql.types.providers import Provider
from cortex.db.groups.views import GroupFilter
from cortex.db.jobs.repository import JobFilter
from cortex.domain.groups.states import GroupState
from cortex.domain.rights import Action, Role
from cortex.domain.states import JobState
from cortex.schemas.money import BudgetView
from cortex.services.money.budgets import budget_version


@shown(Action.SERVER_READ)
@strawberry.type(description="Who asks.")
class Me:
    user: str
    role: Role
    project: str | None = strawberry.field(description="The only one that the key opens.")


async def _seen(context: Context, action: Action, project: str | None) -> frozenset[str] | None:
    return await narrowed(context.by, action, project, context.services.projects)


def budget_row(budget: BudgetView) -> Row:
    """A budget with its version."""
    return {**budget.model_dump(mode="json"), "version": budget_version(budget)}


@strawberry.type
class Query(TeamQuery):
    @guarded(Action.SERVER_READ, Me, "Who asks.")
    async def me(self, info: Asked) -> Any:
        by = info.context.by
        return {"user": by.name, "role": by.role, "project": by.only}

    @guarded(Action.JOBS_READ, Job | None, "One job.", subjects=("id",))
    async def job(self, info: Asked, id: strawberry.ID) -> Any:
        return orjson.loads(await info.context.services.queries.job(job_id(id)))

    @guarded(Action.JOBS_READ, Connection[Job] | None, "Jobs, newest first.")
    async def jobs(
        self,
        info: Asked,
        states: list[JobState] | None = None,
        provider: str | None = None,
        owner: str | None = None,
        name: str | None = None,
        labels: list[str] | None = None,
        group: strawberry.ID | None = None,
        created_after: Time | None = None,
        created_before: Time | None = None,
        project: str | None = None,
        first: int = DEFAULT,
        after: str | None = None,
    ) -> Any:
        context, limit = info.context, counted(first)
        where = JobFilter(
            states=states or (),
            projects=await _seen(context, Action.JOBS_READ, project),
            provider_id=provider,
            owner=owner,
            name=name,
            labels=labels_of(labels),
            group_id=group,
            created_after=moment("created_after", created_after),
            created_before=moment("created_before", created_before),
        )
        page = await context.services.queries.jobs(where, cursor=cursor_of(after), limit=limit)
        return connection(orjson.loads(page), by_time, limit=limit)

    @guarded(Action.JOBS_READ, Group | None, "One group.", subjects=("id",))
    async def group(self, info: Asked, id: strawberry.ID) -> Any:
        name = group_id(id)
        row = await info.context.loaders.groups.load(name)
        if row is None:
            raise named("group", name)
        return row

    @guarded(Action.JOBS_READ, Connection[Group] | None, "Groups, newest first.")
    async def groups(
        self,
        info: Asked,
        states: list[GroupState] | None = None,
        owner: str | None = None,
        name: str | None = None,
        labels: list[str] | None = None,
        project: str | None = None,
        first: int = DEFAULT,
        after: str | None = None,
    ) -> Any:
        context, limit = info.context, counted(first)
        where = GroupFilter(
            states=states or (),
            projects=await _seen(context, Action.JOBS_READ, project),
            owner=owner,
            name=name,
            labels=labels_of(labels),
        )
        page = await context.services.group_queries.page(
            where, cursor=cursor_of(after), limit=limit
        )
        return connection(orjson.loads(page), by_time, limit=limit)

    @guarded(
        Action.JOBS_READ,
        Connection[Event] | None,
        "What happened: to a job, to a group and its members, or to all; oldest first.",
        subjects=("job", "group"),
    )
    async def events(
        self,
        info: Asked,
        job: strawberry.ID | None = None,
        group: strawberry.ID | None = None,
        project: str | None = None,
        first: int = DEFAULT,
        after: str | None = None,
    ) -> Any:
        context, limit = info.context, counted(first)
        services = context.services
        if group is not None:
            page = await services.group_queries.events(group_id(group), after=after, limit=limit)
        else:
            page = await services.queries.events(
                job_id=None if job is None else job_id(job),
                after=after,
                limit=limit,
                projects=await _seen(context, Action.JOBS_READ, project),
            )
        return connection(event_page(page.model_dump(mode="json")), position_of, limit=limit)

    @guarded(Action.PROVIDERS_READ, list[Provider] | None, "All providers, as they are now.")
    async def providers(self, info: Asked) -> Any:
        return rows_of(await info.context.services.registry.views())

    @guarded(Action.PROVIDERS_READ, Provider | None, "One provider, as it is now.")
    async def provider(self, info: Asked, id: strawberry.ID) -> Any:
        return (await info.context.services.registry.view(id)).model_dump(mode="json")

    @guarded(
        Action.MONEY_READ,
        Connection[LedgerEntry] | None,
        "Holds, charges and releases of all jobs, or of one; oldest first.",
    )
    async def ledger(
        self,
        info: Asked,
        job: strawberry.ID | None = None,
        project: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        first: int = DEFAULT,
        after: str | None = None,
    ) -> Any:
        context, limit = info.context, counted(first)
        page = await context.services.billing.ledger(
            job_id=None if job is None else job_id(job),
            since=moment("since", since),
            until=moment("until", until),
            projects=await _seen(context, Action.MONEY_READ, project),
            cursor=cursor_of(after),
            limit=limit,
        )
        return connection(page.model_dump(mode="json"), by_time, limit=limit)

    @guarded(
        Action.MONEY_READ,
        CostReport | None,
        "What was charged and is held, grouped by `provider`, `owner`, `project`, `job`, `group`, "
        "`cause`, `hour`, `day`, `week`, `month` or `label:<key>`, or by two of them.",
    )
    async def costs(
        self,
        info: Asked,
        group_by: str = "provider",
        project: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
    ) -> Any:
        report = await info.context.services.billing.costs(
            group_by,
            since=moment("since", since),
            until=moment("until", until),
            projects=await _seen(info.context, Action.MONEY_READ, project),
        )
        return report.model_dump(mode="json")

    @guarded(Action.MONEY_READ, list[Budget] | None, "The budgets that one may see, oldest first.")
    async def budgets(self, info: Asked) -> Any:
        context = info.context
        return [budget_row(each) for each in await context.services.budgets.all(context.by)]

    @guarded(Action.MONEY_READ, Budget | None, "One budget.")
    async def budget(self, info: Asked, id: strawberry.ID) -> Any:
        context = info.context
        return budget_row(await context.services.budgets.get(id, context.by))
