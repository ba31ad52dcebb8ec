"""Providers: what they can run, what it costs, how they are; adding and changing them."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response

from api.access import Caller, SeenJobs, needs
from api.bodies import Body
from api.conditions import IfMatch, IfNoneMatch, tagged
from api.openapi import UNCHANGED, changed, problems
from api.params import WHOLE, Cursor, Flag, Moment, NumberCursor
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.db.jobs.repository import JobFilter
from cortex.domain.providers.inspection import Inspection
from cortex.domain.rights import Action
from cortex.schemas.jobs import JobPage
from cortex.schemas.providers import (
    ProviderCreate,
    ProviderPricing,
    ProviderStatusPage,
    ProviderTest,
    ProviderTestResult,
    ProviderTypeView,
    ProviderUpdate,
    ProviderView,
)

router = api_router("providers")
_WHAT = "the provider"


Limit = Annotated[int, Field(ge=1, le=500), WHOLE]
Leases = Annotated[Flag, Query(description="False: the network is not asked.")]
After = Annotated[Moment | None, Query(description="Only calls after this time.")]
Keys = Annotated[
    Sequence[str],
    Query(
        max_length=100, description="Only calls about these leases, or about none in particular."
    ),
]


@router.get(
    "/provider-types",
    dependencies=[needs(Action.PROVIDERS_READ)],
    response_model=list[ProviderTypeView],
    responses=problems(),
)
async def list_provider_types(services: Using) -> Response:
    """The types that are installed on the workers, with the JSON Schema of their `config`."""
    return answer([kind.model_dump(mode="json") for kind in await services.registry.types()])


@router.get(
    "/providers",
    dependencies=[needs(Action.PROVIDERS_READ)],
    response_model=list[ProviderView],
    responses=problems(),
)
async def list_providers(services: Using) -> Response:
    """All providers: what they can run, what it costs, and how they are."""
    return answer(
        [provider.model_dump(mode="json") for provider in await services.registry.views()]
    )


@router.post(
    "/providers",
    dependencies=[needs(Action.PROVIDERS_CHANGE)],
    status_code=201,
    response_model=ProviderView,
    responses=problems(409),
)
async def create_provider(
    body: Annotated[ProviderCreate, Depends(Body(ProviderCreate, _WHAT, yaml=True))],
    services: Using,
    by: Caller,
) -> Response:
    """Add a provider: an account of a network. Workers take it up at once.

    Its secrets are stored encrypted and never shown again.
    """
    made = await services.providers.create(body, by)
    return answer(made, status=201, headers={"location": f"/api/v1/providers/{made.id}"})


@router.get(
    "/providers/{provider_id}",
    dependencies=[needs(Action.PROVIDERS_READ)],
    response_model=ProviderView,
    responses={**problems(404), **UNCHANGED},
)
async def get_provider(
    provider_id: str, services: Using, if_none_match: IfNoneMatch = None
) -> Response:
    """One provider."""
    provider = await services.registry.view(provider_id)
    return tagged(provider, str(provider.version), if_none_match)


@router.patch(
    "/providers/{provider_id}",
    dependencies=[needs(Action.PROVIDERS_CHANGE)],
    response_model=ProviderView,
    responses={**problems(404, 409, 412), **changed()},
)
async def update_provider(
    provider_id: str,
    body: Annotated[
        ProviderUpdate, Depends(Body(ProviderUpdate, "the change of the provider", yaml=True))
    ],
    services: Using,
    by: Caller,
    expected: IfMatch,
) -> Response:
    """Change a provider's configuration. What runs there goes on, with the new one."""
    provider = await services.providers.update(provider_id, body, by, expected)
    return tagged(provider, str(provider.version))


@router.delete(
    "/providers/{provider_id}",
    dependencies=[needs(Action.PROVIDERS_CHANGE)],
    status_code=204,
    responses=problems(404, 409, 412),
)
async def delete_provider(
    provider_id: str, services: Using, by: Caller, expected: IfMatch
) -> Response:
    """Remove a provider and its credentials. One that holds leases is a conflict."""
    await services.providers.remove(provider_id, by, expected)
    return Response(status_code=204)


@router.post(
    "/providers/{provider_id}/enable",
    dependencies=[needs(Action.PROVIDERS_OPERATE)],
    response_model=ProviderView,
    responses=problems(404, 409),
)
async def enable_provider(provider_id: str, services: Using, by: Caller) -> Response:
    """Let a provider take new jobs. Harmless to repeat."""
    return answer(await services.providers.switch(provider_id, on=True, actor=by))


@router.post(
    "/providers/{provider_id}/disable",
    dependencies=[needs(Action.PROVIDERS_OPERATE)],
    response_model=ProviderView,
    responses=problems(404, 409),
)
async def disable_provider(provider_id: str, services: Using, by: Caller) -> Response:
    """Let a provider take no new jobs; those that run there go on. Harmless to repeat."""
    return answer(await services.providers.switch(provider_id, on=False, actor=by))


@router.post(
    "/providers/{provider_id}/test",
    dependencies=[needs(Action.PROVIDERS_OPERATE)],
    response_model=ProviderTestResult,
    responses=problems(404),
)
async def try_provider(
    provider_id: str,
    body: Annotated[
        ProviderTest, Depends(Body(ProviderTest, "the test", yaml=True, optional=True))
    ],
    services: Using,
) -> Response:
    """Ask the network itself, with the credentials as they are or as they would be.

    Nothing is stored; without `type` and `config` the provider is tried as it is.
    """
    return answer(await services.providers.test(provider_id, body))


@router.get(
    "/providers/{provider_id}/inspection",
    dependencies=[needs(Action.PROVIDERS_OPERATE)],
    response_model=Inspection,
    responses=problems(404),
)
async def inspect_provider(
    provider_id: str, services: Using, leases: Leases = True, after: After = None, key: Keys = ()
) -> Response:
    """Ask the network now what it holds under keys of Cortex; and which calls were made to it."""
    inspection = await services.inspections.inspect(
        provider_id, leases=leases, after=after, keys=tuple(key)
    )
    return answer(inspection)


@router.get(
    "/providers/{provider_id}/status",
    dependencies=[needs(Action.PROVIDERS_READ)],
    response_model=ProviderStatusPage,
    responses=problems(404),
)
async def provider_status(
    provider_id: str, services: Using, limit: Limit = 100, cursor: NumberCursor = None
) -> Response:
    """The history of a provider's health checks, newest first."""
    return answer(await services.registry.history(provider_id, cursor=cursor, limit=limit))


@router.get(
    "/providers/{provider_id}/pricing",
    dependencies=[needs(Action.PROVIDERS_READ)],
    response_model=ProviderPricing,
    responses=problems(404),
)
async def provider_pricing(provider_id: str, services: Using, limit: Limit = 100) -> Response:
    """The prices of a provider now, and how they changed."""
    return answer(await services.registry.pricing(provider_id, limit=limit))


@router.get(
    "/providers/{provider_id}/jobs",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=JobPage,
    responses=problems(404),
)
async def provider_jobs(
    provider_id: str,
    services: Using,
    projects: SeenJobs,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Jobs whose newest attempt is at this provider, newest first."""
    await services.registry.view(provider_id)
    where = JobFilter(provider_id=provider_id, projects=projects)
    return answer(await services.queries.jobs(where, cursor=cursor, limit=limit))
