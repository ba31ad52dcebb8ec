"""The ledger, and what it adds up to."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from api.access import Seen, SeenMoney, needs
from api.openapi import problems, sheet
from api.params import WHOLE, Cursor, Grouping, JobId, JobText, Moment
from api.respond import CSV, answer, attached
from api.routing import api_router
from api.services import Services, Using
from cortex.domain.money.budgets import BudgetPeriod
from cortex.domain.rights import Action
from cortex.schemas.money import CostReport, ForecastView, LedgerPage
from cortex.services.money.sheets import report_csv

router = api_router("billing")

Limit = Annotated[int, Field(ge=1, le=1000), WHOLE]
Format = Annotated[
    Literal["json", "csv"], Query(alias="format", description="`csv`: all rows, as a sheet.")
]
Since = Annotated[Moment | None, Query(description="Entries from this time on.")]
Until = Annotated[Moment | None, Query(description="Entries before this time.")]


@router.get(
    "/jobs/{job_id}/ledger",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=LedgerPage,
    responses=problems(404) | sheet(),
)
async def job_ledger(
    job_id: JobId, services: Using, limit: Limit = 500, cursor: Cursor = None, form: Format = "json"
) -> Response:
    """Holds, charges and releases of one job, oldest first."""
    if form == "csv":
        return await _ledger_csv(services, job_id)
    return answer(await services.billing.ledger(job_id=job_id, cursor=cursor, limit=limit))


@router.get(
    "/ledger",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=LedgerPage,
    responses=problems(404) | sheet(),
)
async def ledger(
    services: Using,
    projects: SeenMoney,
    job: Annotated[JobText | None, Query(description="Only of this job.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    form: Format = "json",
) -> Response:
    """Holds, charges and releases of all jobs (or of one), oldest first."""
    if form == "csv":
        return await _ledger_csv(services, job, since, until, projects)
    page = await services.billing.ledger(
        job_id=job, since=since, until=until, projects=projects, cursor=cursor, limit=limit
    )
    return answer(page)


@router.get(
    "/costs",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=CostReport,
    responses=problems(404) | sheet(),
)
async def costs(
    services: Using,
    projects: SeenMoney,
    group_by: Annotated[
        Grouping,
        Query(
            description="`provider`, `owner`, `project`, `job`, `group`, `cause`, `hour`, `day`, "
            "`week`, `month` or `label:<key>`; or two of them with a comma."
        ),
    ] = "provider",
    since: Since = None,
    until: Until = None,
    form: Format = "json",
) -> Response:
    """What was charged and what is still held, by group and currency. Times are in UTC."""
    report = await services.billing.costs(group_by, since=since, until=until, projects=projects)
    if form == "csv":
        return _sheet(report_csv(report), "costs.csv")
    return answer(report)


@router.get(
    "/costs/forecast",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=ForecastView,
    responses=problems(404),
)
async def forecast(
    services: Using, projects: SeenMoney, period: BudgetPeriod = BudgetPeriod.MONTH
) -> Response:
    """What all jobs that one may see will have cost at the end of the present period, and how that
    is reckoned.
    """
    return answer(await services.budgets.forecast(period, projects))


async def _ledger_csv(
    services: Services,
    job_id: JobId | None,
    since: datetime | None = None,
    until: datetime | None = None,
    projects: Seen = None,
) -> Response:
    pieces = await services.billing.ledger_csv(
        job_id=job_id, since=since, until=until, projects=projects
    )
    return StreamingResponse(pieces, media_type=CSV, headers=attached("ledger.csv"))


def _sheet(text: str, name: str) -> Response:
    return Response(text, media_type=CSV, headers=attached(name))
