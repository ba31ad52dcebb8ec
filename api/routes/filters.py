"""Saved filters of lists of jobs: `GET /jobs?saved=name`."""

from typing import Annotated

from fastapi import Depends, Path, Query
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.params import Form
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.filters import SavedFilter
from cortex.domain.names import NAME
from cortex.domain.rights import Action
from cortex.schemas.filters import FilterPage, FilterPut

router = api_router("jobs")

_FORM = Form(NAME, "must be lower-case letters, digits, `.`, `_` or `-`, 63 at most")
FilterName = Annotated[str, _FORM, Path(description="Name of a filter.")]
Shared = Annotated[
    str | None, Query(description="The project whose members have it too; else it is one's own.")
]


@router.get(
    "/filters",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=FilterPage,
    responses=problems(),
)
async def list_filters(services: Using, by: Caller) -> Response:
    """One's own saved filters, and those that are shared in projects that one sees."""
    return answer(await services.filters.all(by))


@router.put(
    "/filters/{filter_name}",
    dependencies=[needs(Action.FILTERS_CHANGE)],
    response_model=SavedFilter,
    responses=problems(404, 409),
)
async def put_filter(
    filter_name: FilterName,
    body: Annotated[FilterPut, Depends(Body(FilterPut, "the filter"))],
    services: Using,
    by: Caller,
    project: Shared = None,
) -> Response:
    """Save a filter, in place of the one of this name; shared by who may submit to the project."""
    return answer(await services.filters.put(filter_name, body, project, by))


@router.delete(
    "/filters/{filter_name}",
    dependencies=[needs(Action.FILTERS_CHANGE)],
    status_code=204,
    responses=problems(404, 409),
)
async def delete_filter(
    filter_name: FilterName, services: Using, by: Caller, project: Shared = None
) -> Response:
    """Take a saved filter away."""
    await services.filters.remove(filter_name, project, by)
    return Response(status_code=204)
