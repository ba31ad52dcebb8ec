"""The transaction explorer: what a job does and waits for, and how somebody ends the waiting."""

from typing import Annotated

from fastapi import Depends
from pydantic import Field
from starlette.responses import Response

from api.access import Caller, SeenJobs, needs
from api.bodies import Body
from api.openapi import problems
from api.params import WHOLE, GroupId, JobId
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.domain.trace.model import Trace
from cortex.schemas.trace import ResolutionView, ResolveRequest, StuckPage

router = api_router("explorer")


@router.get(
    "/jobs/{job_id}/trace",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=Trace,
    responses=problems(404),
)
async def trace_job(job_id: JobId, services: Using) -> Response:
    """Every step of a job's protocol: times, tries, what was sent, what is known, what is undone.

    Without Temporal, or its history, the database alone tells it; `temporal` and `notes` say so.
    """
    return answer(await services.traces.job(job_id))


@router.get(
    "/groups/{group_id}/trace",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=Trace,
    responses=problems(404),
)
async def trace_group(group_id: GroupId, services: Using) -> Response:
    """The same for a group: its gangs and their decisions, its members and their steps."""
    return answer(await services.traces.group(group_id))


@router.get(
    "/stuck",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=StuckPage,
    responses=problems(404),
)
async def list_stuck(
    services: Using,
    projects: SeenJobs,
    limit: Annotated[int, Field(ge=1, le=1000), WHOLE] = 100,
) -> Response:
    """Jobs and groups that stay where they are for longer than they should, longest first."""
    return answer(await services.stuck.page(limit, projects))


@router.post(
    "/jobs/{job_id}/resolve",
    dependencies=[needs(Action.JOBS_RESOLVE)],
    status_code=202,
    response_model=ResolutionView,
    responses=problems(404, 409),
)
async def resolve_job(
    job_id: JobId,
    body: Annotated[ResolveRequest, Depends(Body(ResolveRequest, "the decision"))],
    services: Using,
    by: Caller,
) -> Response:
    """Decide by hand about a job that does not get on. It needs a reason, and is audited.

    `retry` tries the pending step now. `force_release` waits for the network no longer and books
    what is known; `settle` books the given amount instead. A job that has ended is a conflict, and
    so is one that gets on, unless `force` is set: then it is cancelled first.
    """
    return answer(await services.resolutions.resolve(job_id, body, by), status=202)
