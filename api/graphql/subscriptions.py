"""What may be followed live: events, from where one left off."""

from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import orjson
import strawberry
from pydantic import ValidationError

from api.graphql.access import guarded
from api.graphql.arguments import group_id, job_id, position
from api.graphql.context import Asked
from api.graphql.scalars import Row
from api.graphql.types.events import Event, event_row
from cortex.domain.errors import InvalidRequest
from cortex.domain.rights import Action
from cortex.schemas.live import Subscribe
from cortex.services.events.scopes import OfJob, Scope


@strawberry.enum(description="Where a stream begins without a position to resume after.")
class StreamStart(Enum):
    NOW = "now"
    BEGINNING = "start"


@strawberry.type
class Subscription:
    @guarded(
        Action.JOBS_READ,
        Event,
        "Events of all that one may see, or of these types (`job.*`), jobs, groups (with their "
        "members) and projects, all of which narrow it. With `after` it resumes after the event of "
        "that position: nothing is left out.",
        subjects=("jobs", "groups"),
        live=True,
    )
    async def events(
        self,
        info: Asked,
        types: list[str] | None = None,
        jobs: list[strawberry.ID] | None = None,
        groups: list[strawberry.ID] | None = None,
        projects: list[str] | None = None,
        after: str | None = None,
        start: StreamStart = StreamStart.NOW,
    ) -> AsyncIterator[Any]:
        values: Row = {"types": types, "jobs": jobs, "groups": groups, "projects": projects}
        asked = _choice({**values, "after": after, "from": start.value})
        scope = await info.context.session.chosen(asked)
        async for event in _events(info, scope, after, start):
            yield event

    @guarded(
        Action.JOBS_READ,
        Event,
        "Events of one job, from its first one; completes after its last one.",
        subjects=("id",),
        live=True,
    )
    async def job_events(
        self,
        info: Asked,
        id: strawberry.ID,
        after: str | None = None,
        start: StreamStart = StreamStart.BEGINNING,
    ) -> AsyncIterator[Any]:
        name = job_id(id)
        await info.context.services.queries.require(name)
        async for event in _events(info, OfJob(name), after, start):
            yield event

    @guarded(
        Action.JOBS_READ,
        Event,
        "Events of one group and its members, from its first one; completes after its last one.",
        subjects=("id",),
        live=True,
    )
    async def group_events(
        self,
        info: Asked,
        id: strawberry.ID,
        after: str | None = None,
        start: StreamStart = StreamStart.BEGINNING,
    ) -> AsyncIterator[Any]:
        scope = await info.context.services.group_queries.scope(group_id(id))
        async for event in _events(info, scope, after, start):
            yield event


async def _events(
    info: Asked, scope: Scope, after: str | None, start: StreamStart
) -> AsyncIterator[Row]:
    context = info.context
    from_now = start is StreamStart.NOW
    async for item in context.session.events(scope, after=position(after), from_now=from_now):
        context.forget()
        context.position = item.id
        yield event_row(orjson.loads(item.data))


def _choice(values: Row) -> Subscribe:
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return Subscribe.model_validate({"type": "subscribe", "id": "a", **given})
    except ValidationError as error:
        raise InvalidRequest.from_validation(error, "the request") from None
