"""The routes about providers: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from cortex.client._routes.call import V1, Call, get, send
from cortex.client.encoding import quoted
from cortex.client.streams import Params
from cortex.domain.providers.inspection import Inspection
from cortex.schemas.jobs import JobPage
from cortex.schemas.providers import (
    ProviderPricing,
    ProviderStatusPage,
    ProviderTestResult,
    ProviderTypeView,
    ProviderView,
)

_PROVIDERS = TypeAdapter(tuple[ProviderView, ...])
_TYPES = TypeAdapter(tuple[ProviderTypeView, ...])


class Unset(BaseModel):
    """Stands for a value that is left as it is, where None means something."""


UNSET: Final = Unset()


def providers() -> Call[tuple[ProviderView, ...]]:
    return Call("GET", f"{V1}/providers", _PROVIDERS.validate_json)


def types() -> Call[tuple[ProviderTypeView, ...]]:
    return Call("GET", f"{V1}/provider-types", _TYPES.validate_json)


def provider(provider_id: str) -> Call[ProviderView]:
    return get(_path(provider_id), ProviderView)


def create(
    provider_id: str,
    type_name: str,
    config: Mapping[str, Any],
    *,
    enabled: bool,
    rate_limit: float | None,
) -> Call[ProviderView]:
    body = {
        "id": provider_id,
        "type": type_name,
        "config": dict(config),
        "enabled": enabled,
        "rate_limit": rate_limit,
    }
    return send("POST", "/providers", ProviderView, body, repeatable=False)


def update(
    provider_id: str, config: Mapping[str, Any] | None, rate_limit: float | Unset | None
) -> Call[ProviderView]:
    body: dict[str, Any] = {}
    if config is not None:
        body["config"] = dict(config)
    if not isinstance(rate_limit, Unset):
        body["rate_limit"] = rate_limit
    return send("PATCH", _path(provider_id), ProviderView, body)


def delete(provider_id: str) -> Call[None]:
    # Not repeated by itself: the second answer would be that there is none.
    return Call("DELETE", V1 + _path(provider_id), lambda _: None, repeatable=False)


def switch(provider_id: str, *, on: bool) -> Call[ProviderView]:
    verb = "enable" if on else "disable"
    return send("POST", f"{_path(provider_id)}/{verb}", ProviderView, {})


def test(
    provider_id: str, type_name: str | None, config: Mapping[str, Any] | None
) -> Call[ProviderTestResult]:
    body = {"type": type_name, "config": dict(config or {})}
    return send("POST", f"{_path(provider_id)}/test", ProviderTestResult, body)


def inspection(
    provider_id: str, *, leases: bool, after: datetime | None, keys: Sequence[str]
) -> Call[Inspection]:
    params = (
        ("leases", str(leases).lower()),
        *((("after", after.isoformat()),) if after else ()),
        *(("key", key) for key in keys),
    )
    return get(f"{_path(provider_id)}/inspection", Inspection, params)


def status(provider_id: str, limit: int, cursor: str | None) -> Call[ProviderStatusPage]:
    return get(f"{_path(provider_id)}/status", ProviderStatusPage, _page(limit, cursor))


def pricing(provider_id: str, limit: int) -> Call[ProviderPricing]:
    return get(f"{_path(provider_id)}/pricing", ProviderPricing, _page(limit, None))


def jobs(provider_id: str, limit: int, cursor: str | None) -> Call[JobPage]:
    return get(f"{_path(provider_id)}/jobs", JobPage, _page(limit, cursor))


def _path(provider_id: str) -> str:
    return f"/providers/{quoted(provider_id, safe='')}"


def _page(limit: int, cursor: str | None) -> Params:
    return (("limit", str(limit)), *((("cursor", cursor),) if cursor else ()))
