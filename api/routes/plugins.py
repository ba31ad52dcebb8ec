"""The plugins that workers have loaded."""

from starlette.responses import Response

from api.access import needs
from api.openapi import problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.schemas.plugins import PluginView

router = api_router("plugins")


@router.get(
    "/plugins",
    dependencies=[needs(Action.PLUGINS_READ)],
    response_model=list[PluginView],
    responses=problems(),
)
async def list_plugins(services: Using) -> Response:
    """All plugins: what they add, how far their subscribers are, what they did not take."""
    return answer([plugin.model_dump(mode="json") for plugin in await services.plugins.views()])


@router.get(
    "/plugins/{name}",
    dependencies=[needs(Action.PLUGINS_READ)],
    response_model=PluginView,
    responses=problems(404),
)
async def get_plugin(name: str, services: Using) -> Response:
    """One plugin."""
    return answer(await services.plugins.view(name))
