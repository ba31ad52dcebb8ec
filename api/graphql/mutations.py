"""What may be changed: each by the service that REST calls, checked and written down as there."""

import asyncio
import json
from typing import Any, Final, TypeVar

import strawberry
from pydantic import BaseModel

from api.bodies import parse_body
from api.graphql.access import guarded, plain
from api.graphql.arguments import group_id, job_id
from api.graphql.changes import GroupChange, JobChange, changing, job_change, model_of
from api.graphql.context import Asked
from api.graphql.queries import budget_row
from api.graphql.scalars import Json, Row
from api.graphql.team_mutations import TeamMutation
from api.graphql.types.money import Budget
from cortex.domain.groups.expand import GroupSpec
from cortex.domain.money.budgets import BudgetAction, BudgetPeriod, BudgetScope
from cortex.domain.rights import Action
from cortex.domain.spec import JobSpec
from cortex.domain.versions import ANY_VERSION, Expected
from cortex.schemas.jobs import CancelRequest, ExtendRequest
from cortex.schemas.money import BudgetCreate, BudgetUpdate

M = TypeVar("M", bound=BaseModel)

# From here on a spec is read beside the event loop, as in REST.
_LARGE: Final = 2 * 1024


@plain
@strawberry.type(description="A budget that was made or changed.")
class BudgetChange:
    id: strawberry.ID

    @guarded(Action.MONEY_READ, Budget | None, "The budget as it is now.")
    async def budget(self, info: Asked) -> Any:
        row: Any = self
        context = info.context
        return budget_row(await context.services.budgets.get(row["id"], context.by))


@plain
@strawberry.type(description="What was removed.")
class Removed:
    id: strawberry.ID


@strawberry.type
class Mutation(TeamMutation):
    @guarded(
        Action.JOBS_SUBMIT,
        JobChange | None,
        "Submit a job. `spec` is an object as in REST, or the text of one in YAML or JSON. With an "
        "`idempotencyKey` it is safe to send it again.",
    )
    async def submit_job(
        self,
        info: Asked,
        spec: Json,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        context = changing(info)
        by, services = context.by, context.services
        model = await _spec(spec, JobSpec, "the job spec")
        accepted = await services.submissions.submit(
            model,
            by.name,
            idempotency_key,
            project=await services.projects.choose(project, by),
            visible=by.projects(Action.JOBS_READ),
            by=by,
        )
        return job_change(accepted.answer, replayed=accepted.replayed)

    @guarded(
        Action.JOBS_CANCEL,
        JobChange | None,
        "Ask for the end of a job. Harmless to repeat; one that has ended is a conflict.",
        subjects=("id",),
    )
    async def cancel_job(self, info: Asked, id: strawberry.ID, reason: str = "") -> Any:
        context = changing(info)
        asked = model_of(CancelRequest, {"reason": reason})
        view = await context.services.control.cancel(job_id(id), asked.reason, context.by)
        return job_change(view)

    @guarded(
        Action.JOBS_EXTEND,
        JobChange | None,
        "Give a job more time, such as `30m`.",
        subjects=("id",),
    )
    async def extend_job(
        self, info: Asked, id: strawberry.ID, duration: str, idempotency_key: str | None = None
    ) -> Any:
        context = changing(info)
        asked = model_of(ExtendRequest, {"duration": duration})
        view, done = await context.services.control.extend(
            job_id(id), asked.duration, context.by, key=idempotency_key
        )
        return job_change(view, replayed=done)

    @guarded(
        Action.JOBS_SUBMIT,
        GroupChange | None,
        "Submit several jobs as one: all are accepted, or none. `spec` as in `submitJob`.",
    )
    async def submit_group(
        self,
        info: Asked,
        spec: Json,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        context = changing(info)
        by, services = context.by, context.services
        model = await _spec(spec, GroupSpec, "the group spec")
        accepted = await services.groups.submit(
            model,
            by.name,
            idempotency_key,
            project=await services.projects.choose(project, by),
            by=by,
        )
        return {"id": accepted.group_id, "replayed": accepted.replayed}

    @guarded(
        Action.JOBS_CANCEL,
        GroupChange | None,
        "Ask for the end of a group and of all its members. Harmless to repeat.",
        subjects=("id",),
    )
    async def cancel_group(self, info: Asked, id: strawberry.ID, reason: str = "") -> Any:
        context = changing(info)
        asked = model_of(CancelRequest, {"reason": reason})
        await context.services.group_control.cancel(group_id(id), asked.reason, context.by)
        return {"id": id, "replayed": False}

    @guarded(
        Action.BUDGETS_CHANGE,
        BudgetChange | None,
        "Add a budget; `amount` is such as `100 USD`. With `STOP` it refuses and stops jobs.",
    )
    async def create_budget(
        self,
        info: Asked,
        name: str,
        amount: str,
        scope: BudgetScope = BudgetScope.SYSTEM,
        scope_value: str | None = None,
        period: BudgetPeriod = BudgetPeriod.MONTH,
        action: BudgetAction = BudgetAction.ALERT,
        enabled: bool = True,
    ) -> Any:
        context = changing(info)
        values = {"name": name, "amount": amount, "scope": scope, "scope_value": scope_value}
        wanted = model_of(
            BudgetCreate, {**values, "period": period, "action": action, "enabled": enabled}
        )
        return {"id": (await context.services.budgets.create(wanted, context.by)).id}

    @guarded(
        Action.BUDGETS_CHANGE,
        BudgetChange | None,
        "Change a budget. With `ifVersion` only if nobody else has changed it meanwhile.",
    )
    async def update_budget(
        self,
        info: Asked,
        id: strawberry.ID,
        name: str | None = None,
        amount: str | None = None,
        period: BudgetPeriod | None = None,
        action: BudgetAction | None = None,
        enabled: bool | None = None,
        if_version: str | None = None,
    ) -> Any:
        context = changing(info)
        values: Row = {"name": name, "amount": amount, "period": period, "action": action}
        values["enabled"] = enabled
        change = model_of(
            BudgetUpdate, {key: value for key, value in values.items() if value is not None}
        )
        await context.services.budgets.update(id, change, context.by, _expected(if_version))
        return {"id": id}

    @guarded(Action.BUDGETS_CHANGE, Removed | None, "Remove a budget.")
    async def delete_budget(
        self, info: Asked, id: strawberry.ID, if_version: str | None = None
    ) -> Any:
        context = changing(info)
        await context.services.budgets.remove(id, context.by, _expected(if_version))
        return {"id": id}


async def _spec(value: Any, model: type[M], what: str) -> M:
    """A spec as REST reads it, with the same errors."""
    is_text = isinstance(value, str)
    body = (value if is_text else json.dumps(value)).encode()
    if len(body) < _LARGE:
        return parse_body(body, model, what, is_yaml=is_text).model
    parsed = await asyncio.to_thread(parse_body, body, model, what, is_yaml=is_text)
    return parsed.model


def _expected(version: str | None) -> Expected:
    return ANY_VERSION if version is None else Expected(frozenset({version}))
