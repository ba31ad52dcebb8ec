"""The ledger, and what it adds up to."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.access import needs
from api.openapi import problems
from api.respond import answer, known_form
from api.services import Using
from cortex.domain.rights import Action
from cortex.schemas import CostReport, LedgerPage

router = APIRouter(tags=["billing"])

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


@router.get(
    "/jobs/{job_id}/ledger",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=LedgerPage,
    responses=problems(404, 422, 503),
)
async def job_ledger(
    job_id: str, services: Using, limit: Limit = 500, cursor: Cursor = None
) -> Response:
    """Holds, charges and releases of one job, oldest first."""
    known_form(job_id)
    return answer(await services.billing.ledger(job_id=job_id, cursor=cursor, limit=limit))


@router.get(
    "/ledger",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=LedgerPage,
    responses=problems(404, 422, 503),
)
async def ledger(
    services: Using, job: str | None = None, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """Holds, charges and releases of all jobs (or of one), oldest first."""
    job_id = known_form(job) if job is not None else None
    return answer(await services.billing.ledger(job_id=job_id, cursor=cursor, limit=limit))


@router.get(
    "/costs",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=CostReport,
    responses=problems(422, 503),
)
async def costs(
    services: Using,
    group_by: Annotated[
        str, Query(description="`provider`, `owner`, `job`, `day` or `label:<key>`.")
    ] = "provider",
    since: datetime | None = None,
    until: datetime | None = None,
) -> Response:
    """What was charged and what is still held, by group and currency."""
    return answer(await services.billing.costs(group_by, since=since, until=until))
