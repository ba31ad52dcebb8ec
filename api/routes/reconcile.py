"""Reconcile: compare networks, books and Temporal now; what was found so far."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.params import WHOLE, Cursor, Flag
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.reconcile import FindingKind
from cortex.domain.rights import Action
from cortex.schemas.reconcile import FindingPage, ReconcileReport, ReconcileRequest

router = api_router("reconcile")


@router.post(
    "/reconcile",
    dependencies=[needs(Action.RECONCILE_RUN)],
    response_model=ReconcileReport,
    responses={
        202: {"model": ReconcileReport, "description": "It takes longer: ask for it by its id."},
        **problems(404),
    },
)
async def reconcile(
    body: Annotated[
        ReconcileRequest, Depends(Body(ReconcileRequest, "the reconcile request", optional=True))
    ],
    services: Using,
    by: Caller,
) -> Response:
    """Compare what networks hold with the lease table, and jobs, groups and holds with Temporal.

    Answers within 12 s: with what was found, or with `202` and the id of the run.
    """
    report = await services.reconcile.run(body, by)
    where = {"location": f"/api/v1/reconcile/runs/{report.id}"}
    return answer(report, status=200 if report.status == "done" else 202, headers=where)


@router.get(
    "/reconcile/runs/{run_id}",
    dependencies=[needs(Action.RECONCILE_READ)],
    response_model=ReconcileReport,
    responses=problems(404),
)
async def reconcile_run(run_id: str, services: Using) -> Response:
    """A run that was started on demand."""
    return answer(await services.reconcile.report(run_id))


@router.get(
    "/reconcile/findings",
    dependencies=[needs(Action.RECONCILE_READ)],
    response_model=FindingPage,
    responses=problems(),
)
async def list_findings(
    services: Using,
    all_: Annotated[Flag, Query(alias="all", description="Closed ones too.")] = False,
    kind: FindingKind | None = None,
    provider: Annotated[str | None, Query(description="Id of the provider.")] = None,
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 100,
    cursor: Cursor = None,
) -> Response:
    """What reconcile found and is not settled, newest first."""
    page = await services.reconcile.findings(
        open_only=not all_, kind=kind, provider_id=provider, cursor=cursor, limit=limit
    )
    return answer(page)
