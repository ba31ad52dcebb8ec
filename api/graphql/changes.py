"""What changes give back, and how their arguments are read."""

from typing import Any, TypeVar

import orjson
import strawberry
from pydantic import BaseModel, ValidationError

from api.access import require
from api.graphql.access import guarded, plain
from api.graphql.arguments import camel
from api.graphql.context import Asked, Context
from api.graphql.scalars import Row
from api.graphql.types.jobs import Group, Job
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.rights import Action
from cortex.services.views import render

M = TypeVar("M", bound=BaseModel)


@plain
@strawberry.type(description="A job that was submitted or changed.")
class JobChange:
    id: strawberry.ID
    replayed: bool = strawberry.field(
        description="Nothing was done now: the same `idempotencyKey` was used before."
    )

    @guarded(Action.JOBS_READ, Job | None, "The job as it is now.", inside=True)
    async def job(self, info: Asked) -> Any:
        row: Any = self
        return row["job"]


@plain
@strawberry.type(description="A group that was submitted or changed.")
class GroupChange:
    id: strawberry.ID
    replayed: bool = strawberry.field(
        description="Nothing was done now: the same `idempotencyKey` was used before."
    )

    @guarded(Action.JOBS_READ, Group | None, "The group as it is now.")
    async def group(self, info: Asked) -> Any:
        row: Any = self
        context = info.context
        await require(context.by, Action.JOBS_READ, row["id"], context.services.ownership)
        return await context.loaders.groups.load(row["id"])


def changing(info: Asked) -> Context:
    """The context of a change: what was read before is not known any more."""
    context = info.context
    context.forget()
    return context


def job_change(view: Any, *, replayed: bool = False) -> Row:
    """A `JobChange` from the job as it is now."""
    row: Row = orjson.loads(view if isinstance(view, str) else render(view))
    whose = {name: row[name] for name in ("id", "owner", "project")}
    return {**whose, "replayed": replayed, "job": row}


def model_of(kind: type[M], values: dict[str, Any]) -> M:
    """Arguments as the body of a request in REST.

    Raises:
        InvalidRequest: names the arguments that are wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = InvalidRequest.from_validation(error, "the request")
        errors = [
            FieldError(field=camel(each.field), message=each.message) for each in problem.errors
        ]
        raise InvalidRequest(problem.detail, errors=errors) from None
