"""The providers that workers have registered."""

from fastapi import APIRouter
from starlette.responses import Response

from api.openapi import problems
from api.respond import answer
from api.services import Using
from cortex.schemas import ProviderView

router = APIRouter(tags=["providers"])


@router.get("/providers", response_model=list[ProviderView], responses=problems(503))
async def list_providers(services: Using) -> Response:
    """All providers: what they can run, what it costs, and how they are."""
    return answer([item.model_dump(mode="json") for item in await services.registry.views()])


@router.get("/providers/{provider_id}", response_model=ProviderView, responses=problems(404, 503))
async def get_provider(provider_id: str, services: Using) -> Response:
    """One provider."""
    return answer(await services.registry.view(provider_id))
