"""Jobs: list, get, cancel, extend."""

import inspect
from typing import Annotated, Final

from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response

from api.access import Caller, SeenJobs, needs
from api.bodies import Body
from api.fields import SOME, chosen, fields_of
from api.openapi import problems
from api.params import WHOLE, Cursor, IdempotencyKey, JobId, Labels, Moment, NumberCursor
from api.respond import answer, labels_of
from api.routing import api_router
from api.services import Using
from cortex.db.jobs.repository import JobFilter
from cortex.domain.rendering.frames import MAX_FRAMES, FrameState
from cortex.domain.rights import Action
from cortex.domain.states import JobState
from cortex.schemas.jobs import (
    CancelRequest,
    ExtendRequest,
    FramePage,
    JobPage,
    JobSummary,
    JobView,
)

router = api_router("jobs")


async def _filter(
    projects: SeenJobs,
    state: Annotated[list[JobState] | None, Query(description="Any of these.")] = None,
    provider: Annotated[str | None, Query(description="Id of the provider it runs at.")] = None,
    owner: str | None = None,
    name: str | None = None,
    label: Labels = None,
    group: Annotated[str | None, Query(description="Id of the group it is a member of.")] = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
) -> JobFilter:
    return JobFilter(
        states=state or (),
        projects=projects,
        provider_id=provider,
        owner=owner,
        name=name,
        labels=labels_of(label or []),
        group_id=group,
        created_after=created_after,
        created_before=created_before,
    )


Which = Annotated[JobFilter, Depends(_filter)]
"""The jobs that a query asks for."""
FILTER: Final = frozenset({*inspect.signature(_filter).parameters, "project"} - {"projects"})
"""The parameters of that query."""


@router.get(
    "/jobs",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=JobPage,
    responses=problems(404, 409),
)
async def list_jobs(
    services: Using,
    by: Caller,
    where: Which,
    saved: Annotated[
        str | None, Query(description="Name of a saved filter; what else is asked for counts.")
    ] = None,
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 50,
    cursor: Cursor = None,
    fields: Annotated[str | None, fields_of(JobSummary), SOME] = None,
) -> Response:
    """Jobs, newest first."""
    if saved is not None:
        where = await services.filters.narrowed(where, saved, by)
    page = await services.queries.jobs(where, cursor=cursor, limit=limit, fields=chosen(fields))
    return answer(page)


@router.get(
    "/jobs/{job_id}",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=JobView,
    responses=problems(404),
)
async def get_job(job_id: JobId, services: Using) -> Response:
    """One job with its attempts, the history of its states and its spec (secrets masked)."""
    return answer(await services.queries.job(job_id))


@router.get(
    "/jobs/{job_id}/frames",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=FramePage,
    responses=problems(404),
)
async def list_frames(
    job_id: JobId,
    services: Using,
    state: Annotated[FrameState | None, Query(description="Only frames in this state.")] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_FRAMES), WHOLE] = 1000,
    cursor: NumberCursor = None,
) -> Response:
    """The frames of a render job: state, attempts, cost and file of each, over all its leases."""
    page = await services.queries.frames(job_id, state=state, cursor=cursor, limit=limit)
    return answer(page)


@router.post(
    "/jobs/{job_id}/cancel",
    dependencies=[needs(Action.JOBS_CANCEL)],
    status_code=202,
    response_model=JobView,
    responses=problems(404, 409),
)
async def cancel_job(
    job_id: JobId,
    body: Annotated[
        CancelRequest, Depends(Body(CancelRequest, "the cancel request", optional=True))
    ],
    services: Using,
    by: Caller,
) -> Response:
    """Ask for the end of a job. It is `cancelled` once its lease is released and its bill booked.

    Harmless to repeat; a job that has ended already is a conflict.
    """
    return answer(await services.control.cancel(job_id, body.reason, by), status=202)


@router.post(
    "/jobs/{job_id}/extend",
    dependencies=[needs(Action.JOBS_EXTEND)],
    status_code=202,
    response_model=JobView,
    responses=problems(402, 404, 409),
)
async def extend_job(
    job_id: JobId,
    body: Annotated[ExtendRequest, Depends(Body(ExtendRequest, "the extend request"))],
    services: Using,
    by: Caller,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Give a job more time, within its budget and what server and provider allow in all.

    The same `Idempotency-Key` with the same body extends once. A job that has ended is a conflict.
    """
    view, done = await services.control.extend(job_id, body.duration, by, key=idempotency_key)
    return answer(view, status=202, headers={"idempotency-replayed": "true"} if done else {})
