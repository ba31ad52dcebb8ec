"""What jobs took of their machines."""

from typing import Annotated

from fastapi import Query
from pydantic import Field
from starlette.responses import Response

from api.access import needs
from api.openapi import problems
from api.params import WHOLE, JobId, Moment
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.metrics import LONGEST_STEP
from cortex.domain.rights import Action
from cortex.schemas.metrics import JobMetrics
from cortex.services.jobs.metrics import Asked

router = api_router("metrics")


@router.get(
    "/jobs/{job_id}/metrics",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=JobMetrics,
    responses=problems(404),
)
async def job_metrics(
    job_id: JobId,
    services: Using,
    since: Annotated[Moment | None, Query(description="Default: the job's start.")] = None,
    until: Annotated[Moment | None, Query(description="Default: its end, or now.")] = None,
    step: Annotated[
        Annotated[int, Field(ge=1, le=LONGEST_STEP), WHOLE] | None,
        Query(
            description="Seconds from one point to the next; default: what makes about 120 points."
        ),
    ] = None,
) -> Response:
    """CPU, memory, network, disk and GPU over time, as far as the job's provider tells them.

    `reported` says what it tells; where that is nothing, `note` says so. Steps in which nothing was
    measured have no point.
    """
    if since is not None and until is not None and since > until:
        message = "must not be after `until`"
        raise InvalidRequest(
            f"the request is not valid: `since` {message}",
            errors=[FieldError(field="since", message=message)],
        )
    asked = Asked(since=since, until=until, step=step)
    return answer(await services.metrics.of_job(job_id, asked))
