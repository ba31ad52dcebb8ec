"""Finds provider types through entry points (group `cortex.providers`) and makes them."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from cortex.domain.errors import InvalidRequest
from cortex.domain.providers.inspection import Adapter
from providers.base import Provider, ProviderConfig

GROUP = "cortex.providers"
AnyProvider = Provider[Any]


def provider_types() -> tuple[str, ...]:
    """The names of the installed provider types."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def provider_class(type_name: str) -> type[AnyProvider]:
    """The class of a provider type.

    Raises:
        InvalidRequest: no installed package offers this type, or it cannot be loaded.
    """
    for point in entry_points(group=GROUP, name=type_name):
        try:
            loaded: type[AnyProvider] = point.load()
        except ImportError as error:
            raise InvalidRequest(
                f"provider type `{type_name}` cannot be loaded: {error}"
            ) from error
        return loaded
    known = ", ".join(f"`{name}`" for name in provider_types())
    raise InvalidRequest(f"there is no provider type `{type_name}`; installed are {known}")


@cache
def config_class(type_name: str) -> type[ProviderConfig]:
    """The class of the configuration of a provider type.

    A package that offers it as `Config` beside its provider is asked no more: the code of the
    provider stays unloaded.

    Raises:
        InvalidRequest: as `provider_class`.
    """
    for point in entry_points(group=GROUP, name=type_name):
        try:
            offered = getattr(import_module(point.module), "Config", None)
        except ImportError:
            break
        if isinstance(offered, type) and issubclass(offered, ProviderConfig):
            return offered
        break
    return provider_class(type_name).Config


def adapter_of(provider: AnyProvider) -> Adapter:
    """Which code a provider is, and the installed package that it comes from."""
    kind = type(provider)
    name = f"{kind.__module__}:{kind.__qualname__}"
    for point in entry_points(group=GROUP, name=kind.type_name):
        if point.dist is not None:
            return Adapter(
                type=kind.type_name,
                name=name,
                package=point.dist.name,
                version=point.dist.version,
            )
    return Adapter(type=kind.type_name, name=name)


def make_provider(provider_id: str, type_name: str, config: Mapping[str, Any]) -> AnyProvider:
    """A provider from its configuration, not yet initialized.

    Raises:
        InvalidRequest: unknown type, or a field of the configuration is wrong.
    """
    cls = provider_class(type_name)
    try:
        checked: ProviderConfig = cls.Config.model_validate(dict(config))
    except ValidationError as error:
        where = f"the configuration of provider `{provider_id}`"
        raise InvalidRequest.from_validation(error, where) from None
    return cls(provider_id, checked)
