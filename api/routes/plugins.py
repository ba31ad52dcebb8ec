"""The plugins that workers have loaded."""

from fastapi import APIRouter
from starlette.responses import Response

from api.openapi import problems
from api.respond import answer
from api.services import Using
from cortex.schemas import PluginView

router = APIRouter(tags=["plugins"])


@router.get("/plugins", response_model=list[PluginView], responses=problems(503))
async def list_plugins(services: Using) -> Response:
    """All plugins: what they add, how far their subscribers are, what they did not take."""
    return answer([item.model_dump(mode="json") for item in await services.plugins.views()])


@router.get("/plugins/{name}", response_model=PluginView, responses=problems(404, 503))
async def get_plugin(name: str, services: Using) -> Response:
    """One plugin."""
    return answer(await services.plugins.view(name))
