"""Taking jobs: submit, batch, validate, quote."""

from typing import Annotated

from fastapi import Depends
from starlette.responses import Response

from api.access import Caller, DraftTarget, Target, needs
from api.bodies import Body, NotedBody, Parsed
from api.openapi import problems
from api.params import IdempotencyKey
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.domain.spec import JobSpec
from cortex.schemas.jobs import BatchAccepted, BatchRequest, JobView, Quote, Validation
from cortex.services.jobs.submit import Accepted

router = api_router("jobs")

_SPEC = "the job spec"


@router.post(
    "/jobs",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    status_code=202,
    response_model=JobView,
    responses=problems(402, 404, 409),
)
async def submit(
    spec: Annotated[JobSpec, Depends(Body(JobSpec, _SPEC, yaml=True))],
    services: Using,
    by: Caller,
    project: Target,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit a job. It is stored when this answers, and starts even if Temporal is away now.

    The same `Idempotency-Key` with the same spec gives the same job again; with another spec it
    is a conflict.
    """
    accepted = await services.submissions.submit(
        spec,
        by.name,
        idempotency_key,
        project=project,
        visible=by.projects(Action.JOBS_READ),
        by=by,
    )
    return _accepted(accepted, location=f"/api/v1/jobs/{accepted.job_id}")


@router.post(
    "/jobs/batch",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    status_code=202,
    response_model=BatchAccepted,
    responses=problems(402, 404, 409),
)
async def submit_batch(
    batch: Annotated[BatchRequest, Depends(Body(BatchRequest, "the batch", yaml=True))],
    services: Using,
    by: Caller,
    project: Target,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit up to 1,000 jobs: all are accepted, or none. An error names the job by its index."""
    accepted = await services.submissions.submit_batch(
        batch.jobs,
        by.name,
        idempotency_key,
        project=project,
        visible=by.projects(Action.JOBS_READ),
        by=by,
    )
    return _accepted(accepted)


@router.post(
    "/jobs/validate",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    response_model=Validation,
    responses=problems(404, 409),
)
async def validate(
    parsed: Annotated[Parsed[JobSpec], Depends(NotedBody(JobSpec, _SPEC, yaml=True))],
    services: Using,
    by: Caller,
    project: DraftTarget,
) -> Response:
    """Check a spec as submitting it would, without storing anything."""
    validation = await services.submissions.validate(
        parsed.model, by.projects(Action.JOBS_READ), project=project, by=by
    )
    return answer(validation.model_copy(update={"notes": parsed.notes}))


@router.post(
    "/quotes",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    response_model=Quote,
    responses=problems(404, 409),
)
async def quote(
    spec: Annotated[JobSpec, Depends(Body(JobSpec, _SPEC, yaml=True))],
    services: Using,
    by: Caller,
    project: DraftTarget,
) -> Response:
    """Ask all providers for offers, and rank them by the spec's strategy."""
    clear = await services.submissions.clear(spec, project=project, by=by)
    return answer(await services.quotes.quote(clear))


def _accepted(accepted: Accepted, location: str | None = None) -> Response:
    headers = {"location": location} if location else {}
    if accepted.replayed:
        headers["idempotency-replayed"] = "true"
    return answer(accepted.answer, status=202, headers=headers)
