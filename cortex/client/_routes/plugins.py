"""The routes of the API for the plugins of the workers."""

from pydantic import TypeAdapter

from cortex.client._routes.call import V1, Call, get
from cortex.client.encoding import quoted
from cortex.schemas.plugins import PluginView

_PLUGINS = TypeAdapter(tuple[PluginView, ...])


def plugins() -> Call[tuple[PluginView, ...]]:
    return Call("GET", f"{V1}/plugins", _PLUGINS.validate_json)


def plugin(name: str) -> Call[PluginView]:
    return get(f"/plugins/{quoted(name, safe='')}", PluginView)
