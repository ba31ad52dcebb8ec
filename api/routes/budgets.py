"""Budgets: what the jobs of a scope may cost within a period."""

from typing import Annotated

from fastapi import Depends
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.conditions import IfMatch, IfNoneMatch, tagged
from api.openapi import UNCHANGED, changed, problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.schemas.money import BudgetCreate, BudgetUpdate, BudgetView
from cortex.services.money.budgets import budget_version

router = api_router("billing")


@router.get(
    "/budgets",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=list[BudgetView],
    responses=problems(),
)
async def list_budgets(services: Using, by: Caller) -> Response:
    """Every budget that one may see, with what counts against it now; the oldest first."""
    return answer([budget.model_dump(mode="json") for budget in await services.budgets.all(by)])


@router.post(
    "/budgets",
    dependencies=[needs(Action.BUDGETS_CHANGE)],
    status_code=201,
    response_model=BudgetView,
    responses=problems(),
)
async def create_budget(
    body: Annotated[BudgetCreate, Depends(Body(BudgetCreate, "the budget", yaml=True))],
    services: Using,
    by: Caller,
) -> Response:
    """Add a budget. With `stop` it refuses jobs from now on, and stops those that take it over.

    It counts from the begin of its present period. The rate of its currency comes from the
    providers' price sheets, and follows them.
    """
    made = await services.budgets.create(body, by)
    return answer(made, status=201, headers={"location": f"/api/v1/budgets/{made.id}"})


@router.get(
    "/budgets/{budget_id}",
    dependencies=[needs(Action.MONEY_READ)],
    response_model=BudgetView,
    responses={**problems(404), **UNCHANGED},
)
async def get_budget(
    budget_id: str, services: Using, by: Caller, if_none_match: IfNoneMatch = None
) -> Response:
    """One budget: spent, held, reserved, left, and the forecast for the end of its period."""
    budget = await services.budgets.get(budget_id, by)
    return tagged(budget, budget_version(budget), if_none_match)


@router.patch(
    "/budgets/{budget_id}",
    dependencies=[needs(Action.BUDGETS_CHANGE)],
    response_model=BudgetView,
    responses={**problems(404, 412), **changed()},
)
async def update_budget(
    budget_id: str,
    body: Annotated[
        BudgetUpdate, Depends(Body(BudgetUpdate, "the change of the budget", yaml=True))
    ],
    services: Using,
    by: Caller,
    expected: IfMatch,
) -> Response:
    """Change a budget. One that is lowered below what is used stops jobs, if it is to."""
    budget = await services.budgets.update(budget_id, body, by, expected)
    return tagged(budget, budget_version(budget))


@router.delete(
    "/budgets/{budget_id}",
    dependencies=[needs(Action.BUDGETS_CHANGE)],
    status_code=204,
    responses=problems(404, 412),
)
async def delete_budget(budget_id: str, services: Using, by: Caller, expected: IfMatch) -> Response:
    """Remove a budget."""
    await services.budgets.remove(budget_id, by, expected)
    return Response(status_code=204)
