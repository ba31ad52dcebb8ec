"""Events, as pages and live."""

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from api.graphql.access import resolved, shown
from api.graphql.context import Asked
from api.graphql.scalars import Json, Row, Time
from cortex.domain.rights import Action

if TYPE_CHECKING:
    from api.graphql.types.jobs import Job


@shown(Action.JOBS_READ)
@strawberry.type(description="What happened: a CloudEvents envelope.")
class Event:
    id: strawberry.ID
    type: str
    subject: strawberry.ID
    time: Time
    position: str = strawberry.field(
        description="Resumes after this event: `after` of a page or a subscription."
    )
    job_id: strawberry.ID | None
    data: Json

    @resolved(
        Annotated["Job", strawberry.lazy("api.graphql.types.jobs")] | None,
        "The job that it is about, as it is now.",
    )
    async def job(self, info: Asked) -> Any:
        row: Any = self
        name = row["job_id"]
        return await info.context.loaders.jobs.load(name) if name else None


def event_row(event: Row) -> Row:
    """An `EventView` by the names of the schema."""
    return {**event, "position": event["cortexposition"], "job_id": event["cortexjob"]}


def event_page(page: Row) -> Row:
    """An `EventPage` by the names of the schema."""
    return {**page, "items": [event_row(event) for event in page["items"]]}


def position_of(row: Row) -> str:
    """The cursor of an event."""
    position: str = row["position"]
    return position
