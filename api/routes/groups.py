"""Groups: submit, validate, list, get, cancel, their events."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller, DraftTarget, SeenJobs, Target, needs
from api.admission import wants_stream
from api.bodies import Body, NotedBody, Parsed
from api.fields import SOME, chosen, fields_of
from api.openapi import problems, streamed
from api.params import WHOLE, Cursor, GroupId, IdempotencyKey, Labels, MemberCursor
from api.respond import answer, labels_of
from api.routes.streams import After, From, LastEventId, Limit, stream
from api.routing import api_router
from api.services import Using
from cortex.db.groups.views import GroupFilter, MemberFilter
from cortex.domain.groups.expand import GroupSpec
from cortex.domain.groups.states import GroupState
from cortex.domain.rights import Action
from cortex.domain.states import JobState
from cortex.schemas.events import EventPage
from cortex.schemas.groups import GroupPage, GroupSummary, GroupValidation, GroupView
from cortex.schemas.jobs import CancelRequest

router = api_router("groups")

_SPEC = "the group spec"


async def _filter(
    projects: SeenJobs,
    state: Annotated[list[GroupState] | None, Query(description="Any of these.")] = None,
    owner: str | None = None,
    name: str | None = None,
    label: Labels = None,
) -> GroupFilter:
    return GroupFilter(
        states=state or (),
        projects=projects,
        owner=owner,
        name=name,
        labels=labels_of(label or []),
    )


async def _members(
    state: Annotated[
        list[JobState] | None, Query(description="Members whose job is in any of these.")
    ] = None,
    member: Annotated[
        str | None, Query(description="A member by its name, or all of an array.")
    ] = None,
    cursor: MemberCursor = None,
) -> MemberFilter:
    return MemberFilter(states=state or (), member=member, after=cursor)


@router.post(
    "/groups",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    status_code=202,
    response_model=GroupView,
    responses=problems(402, 404, 409),
)
async def submit_group(
    spec: Annotated[GroupSpec, Depends(Body(GroupSpec, _SPEC, yaml=True))],
    services: Using,
    by: Caller,
    project: Target,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit several jobs as one: all are accepted, or none. An error names the job.

    The answer has the first members only. The same `Idempotency-Key` with the same spec gives the
    same group again; with another spec it is a conflict.
    """
    accepted = await services.groups.submit(spec, by.name, idempotency_key, project=project, by=by)
    headers = {"location": f"/api/v1/groups/{accepted.group_id}"}
    if accepted.replayed:
        headers["idempotency-replayed"] = "true"
    view = await services.group_queries.group(accepted.group_id, MemberFilter(), limit=100)
    return answer(view, status=202, headers=headers)


@router.post(
    "/groups/validate",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    response_model=GroupValidation,
    responses=problems(404, 409),
)
async def validate_group(
    parsed: Annotated[Parsed[GroupSpec], Depends(NotedBody(GroupSpec, _SPEC, yaml=True))],
    services: Using,
    by: Caller,
    project: DraftTarget,
) -> Response:
    """What the jobs of a group spec become, and what they may cost; nothing is stored."""
    validation = await services.groups.validate(parsed.model, project=project, by=by)
    return answer(validation.model_copy(update={"notes": parsed.notes}))


@router.get(
    "/groups",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=GroupPage,
    responses=problems(404),
)
async def list_groups(
    services: Using,
    where: Annotated[GroupFilter, Depends(_filter)],
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 50,
    cursor: Cursor = None,
    fields: Annotated[str | None, fields_of(GroupSummary), SOME] = None,
) -> Response:
    """Groups, newest first."""
    page = await services.group_queries.page(
        where, cursor=cursor, limit=limit, fields=chosen(fields)
    )
    return answer(page)


@router.get(
    "/groups/{group_id}",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=GroupView,
    responses=problems(404),
)
async def get_group(
    group_id: GroupId,
    services: Using,
    where: Annotated[MemberFilter, Depends(_members)],
    limit: Annotated[
        Annotated[int, Field(ge=0, le=1000), WHOLE], Query(description="Members in the answer.")
    ] = 100,
) -> Response:
    """One group: state, members by state, cost, gangs and their decisions, a page of members."""
    return answer(await services.group_queries.group(group_id, where, limit=limit))


@router.post(
    "/groups/{group_id}/cancel",
    dependencies=[needs(Action.JOBS_CANCEL)],
    status_code=202,
    response_model=GroupView,
    responses=problems(404, 409),
)
async def cancel_group(
    group_id: GroupId,
    body: Annotated[
        CancelRequest, Depends(Body(CancelRequest, "the cancel request", optional=True))
    ],
    services: Using,
    by: Caller,
) -> Response:
    """Ask for the end of a group: none of it starts any more, and what runs is cancelled.

    It is `cancelled` once every lease is released and every bill booked. Harmless to repeat; a
    group that has ended already is a conflict.
    """
    await services.group_control.cancel(group_id, body.reason, by)
    view = await services.group_queries.group(group_id, MemberFilter(), limit=100)
    return answer(view, status=202)


@router.get(
    "/groups/{group_id}/events",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=EventPage,
    responses=problems(404) | streamed("CloudEvents by their type, then `end`"),
)
async def group_events(
    group_id: GroupId,
    request: Request,
    services: Using,
    after: After = None,
    limit: Limit = 100,
    start: From = None,
    last_event_id: LastEventId = None,
) -> Response:
    """What happened to a group and to its members, oldest first.

    With `Accept: text/event-stream` a live stream, from the start if not told otherwise, that ends
    with an `end` event after the group's last one.
    """
    if not wants_stream(request.scope):
        return answer(await services.group_queries.events(group_id, after=after, limit=limit))
    scope = await services.group_queries.scope(group_id)
    return stream(services, request, scope, last_event_id or after, from_now=start == "now")
