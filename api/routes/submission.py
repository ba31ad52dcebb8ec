"""Taking jobs: submit, batch, validate, quote."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import read_body, read_noted
from api.openapi import body_schema, problems
from api.params import IdempotencyKey
from api.respond import answer
from api.services import Using
from cortex.domain.rights import Action
from cortex.domain.spec import JobSpec
from cortex.schemas.jobs import BatchAccepted, BatchRequest, JobView, Quote, Validation
from cortex.services.jobs.submit import Accepted

router = APIRouter(tags=["jobs"])

_SPEC = "the job spec"


@router.post(
    "/jobs",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    status_code=202,
    response_model=JobView,
    responses=problems(402, 409, body=True),
    openapi_extra=body_schema(JobSpec, yaml=True),
)
async def submit(
    request: Request, services: Using, by: Caller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Submit a job. It is stored when this answers, and starts even if Temporal is away now.

    The same `Idempotency-Key` with the same spec gives the same job again; with another spec it
    is a conflict.
    """
    spec = await read_body(request, JobSpec, _SPEC)
    accepted = await services.submissions.submit(spec, by.name, idempotency_key)
    return _accepted(accepted, location=f"/api/v1/jobs/{accepted.job_id}")


@router.post(
    "/jobs/batch",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    status_code=202,
    response_model=BatchAccepted,
    responses=problems(402, 409, body=True),
    openapi_extra=body_schema(BatchRequest, yaml=True),
)
async def submit_batch(
    request: Request, services: Using, by: Caller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Submit up to 1,000 jobs: all are accepted, or none. An error names the job by its index."""
    batch = await read_body(request, BatchRequest, "the batch")
    accepted = await services.submissions.submit_batch(batch.jobs, by.name, idempotency_key)
    return _accepted(accepted)


@router.post(
    "/jobs/validate",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    response_model=Validation,
    responses=problems(body=True),
    openapi_extra=body_schema(JobSpec, yaml=True),
)
async def validate(request: Request, services: Using) -> Response:
    """Check a spec as submitting it would, without storing anything."""
    parsed = await read_noted(request, JobSpec, _SPEC)
    found = await services.submissions.validate(parsed.model)
    return answer(found.model_copy(update={"notes": parsed.notes}))


@router.post(
    "/quotes",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    response_model=Quote,
    responses=problems(body=True),
    openapi_extra=body_schema(JobSpec, yaml=True),
)
async def quote(request: Request, services: Using) -> Response:
    """Ask all providers for offers, and rank them by the spec's strategy."""
    spec = await read_body(request, JobSpec, _SPEC)
    return answer(await services.quotes.quote(spec))


def _accepted(accepted: Accepted, location: str | None = None) -> Response:
    headers = {"location": location} if location else {}
    if accepted.replayed:
        headers["idempotency-replayed"] = "true"
    return answer(accepted.answer, status=202, headers=headers)
