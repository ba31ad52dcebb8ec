"""Logs and events, as pages and as live streams (server-sent events)."""

from typing import Annotated, Final, Literal

from fastapi import Header, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.access import SeenJobs, needs
from api.admission import wants_stream
from api.openapi import problems, streamed
from api.params import WHOLE, Flag, JobId, LogCursor, Position
from api.respond import answer
from api.routing import api_router
from api.services import Services, Using
from api.sse import sse_response
from cortex.domain.rights import Action
from cortex.schemas.events import EventPage
from cortex.schemas.jobs import LogPage
from cortex.services.events.scopes import Everything, OfJob, Scope

router = api_router()

_RESUME: Final = "Resumes a stream after this `id`."
LastEventId = Annotated[
    Position | None,
    Header(alias="Last-Event-ID", description=_RESUME),
]
LastLine = Annotated[
    LogCursor | None,
    Header(alias="Last-Event-ID", description=_RESUME),
]
After = Annotated[
    Position | None, Query(description="`next_cursor`, or an event's `cortexposition`.")
]
From = Annotated[
    Literal["start", "now"] | None,
    Query(alias="from", description="Where a stream begins without a place to resume at."),
]
Limit = Annotated[int, Field(ge=1, le=1000), WHOLE]


@router.get(
    "/jobs/{job_id}/logs",
    dependencies=[needs(Action.JOBS_READ)],
    tags=["logs"],
    response_model=LogPage,
    responses=problems(404) | streamed("`line` (and `partial`) events, then `end`"),
)
async def job_logs(
    job_id: JobId,
    request: Request,
    services: Using,
    tail: Annotated[
        Annotated[int, Field(ge=0, le=10_000), WHOLE] | None,
        Query(description="Only the last lines."),
    ] = None,
    since: Annotated[
        LogCursor | None, Query(description="The `cursor` of the last line seen.")
    ] = None,
    limit: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 1000,
    follow: Annotated[Flag, Query(description="Stream lines until the job has ended.")] = False,
    partial: Annotated[
        Flag, Query(description="A stream also tells of lines that have begun and not ended.")
    ] = False,
    last_event_id: LastLine = None,
) -> Response:
    """What a job has written. As a stream: `line` events, then one `end` with state and exit code.

    With `partial`, what there is of a line that has not ended (a prompt, a progress bar) comes as
    a `partial` event without an id, each time that it changes. The next `line` or `partial` event
    with the same `stream` takes its place.

    `Last-Event-ID` goes before `since`, and both before `tail`.
    """
    if not follow and not wants_stream(request.scope):
        return answer(await services.queries.logs(job_id, since=since, tail=tail, limit=limit))
    place = last_event_id or since
    await services.queries.require(job_id)
    lines = services.streams.logs(job_id, since=place, tail=tail, partial=partial)
    return sse_response(lines, request)


@router.get(
    "/jobs/{job_id}/events",
    dependencies=[needs(Action.JOBS_READ)],
    tags=["events"],
    response_model=EventPage,
    responses=problems(404) | streamed("CloudEvents by their type, then `end`"),
)
async def job_events(
    job_id: JobId,
    request: Request,
    services: Using,
    after: After = None,
    limit: Limit = 100,
    start: From = None,
    last_event_id: LastEventId = None,
) -> Response:
    """What happened to a job, oldest first.

    With `Accept: text/event-stream` a live stream, from the start if not told otherwise, that ends
    with an `end` event after the job's last one.
    """
    if not wants_stream(request.scope):
        return answer(await services.queries.events(job_id=job_id, after=after, limit=limit))
    await services.queries.require(job_id)
    return stream(services, request, OfJob(job_id), last_event_id or after, from_now=start == "now")


@router.get(
    "/events",
    dependencies=[needs(Action.JOBS_READ)],
    tags=["events"],
    response_model=EventPage,
    responses=problems(404) | streamed("CloudEvents by their type"),
)
async def all_events(
    request: Request,
    services: Using,
    projects: SeenJobs,
    after: After = None,
    limit: Limit = 100,
    start: From = None,
    last_event_id: LastEventId = None,
) -> Response:
    """What happened to all jobs that one may see, oldest first.

    With `Accept: text/event-stream` a live stream, from now if not told otherwise.
    """
    if not wants_stream(request.scope):
        return answer(
            await services.queries.events(job_id=None, after=after, limit=limit, projects=projects)
        )
    await services.database.ping()
    place = last_event_id or after
    return stream(services, request, Everything(projects), place, from_now=start != "start")


def stream(
    services: Services, request: Request, scope: Scope, after: str | None, *, from_now: bool
) -> Response:
    """The events of a scope as they come."""
    return sse_response(services.streams.events(scope, after=after, from_now=from_now), request)
