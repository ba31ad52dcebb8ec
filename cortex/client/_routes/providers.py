"""The routes about providers: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from cortex.client._routes.jobs import Call, ModelT
from cortex.client.encoding import encode, quoted
from cortex.client.streams import Params
from cortex.domain.inspection import Inspection
from cortex.schemas.jobs import JobPage, ProviderView
from cortex.schemas.providers import (
    ProviderPricing,
    ProviderStatusPage,
    ProviderTestResult,
    ProviderTypeView,
)

_V1 = "/api/v1"
_JSON = {"Content-Type": "application/json"}
_PROVIDERS = TypeAdapter(tuple[ProviderView, ...])
_TYPES = TypeAdapter(tuple[ProviderTypeView, ...])


class Unset(BaseModel):
    """Stands for a value that is left as it is, where None means something."""


UNSET: Final = Unset()


def providers() -> Call[tuple[ProviderView, ...]]:
    return Call("GET", f"{_V1}/providers", _PROVIDERS.validate_json)


def types() -> Call[tuple[ProviderTypeView, ...]]:
    return Call("GET", f"{_V1}/provider-types", _TYPES.validate_json)


def provider(provider_id: str) -> Call[ProviderView]:
    return _get(provider_id, "", ProviderView)


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
    return _send("POST", f"{_V1}/providers", ProviderView, body, repeatable=False)


def update(
    provider_id: str, config: Mapping[str, Any] | None, rate_limit: float | Unset | None
) -> Call[ProviderView]:
    body: dict[str, Any] = {}
    if config is not None:
        body["config"] = dict(config)
    if not isinstance(rate_limit, Unset):
        body["rate_limit"] = rate_limit
    return _send("PATCH", _path(provider_id), ProviderView, body)


def delete(provider_id: str) -> Call[None]:
    # Not repeated by itself: the second answer would be that there is none.
    return Call("DELETE", _path(provider_id), lambda _: None, repeatable=False)


def switch(provider_id: str, *, on: bool) -> Call[ProviderView]:
    verb = "enable" if on else "disable"
    return _send("POST", f"{_path(provider_id)}/{verb}", ProviderView, {})


def test(
    provider_id: str, type_name: str | None, config: Mapping[str, Any] | None
) -> Call[ProviderTestResult]:
    body = {"type": type_name, "config": dict(config or {})}
    return _send("POST", f"{_path(provider_id)}/test", ProviderTestResult, body)


def inspection(
    provider_id: str, *, leases: bool, after: datetime | None, keys: Sequence[str]
) -> Call[Inspection]:
    params = (
        ("leases", str(leases).lower()),
        *((("after", after.isoformat()),) if after else ()),
        *(("key", key) for key in keys),
    )
    return _get(provider_id, "/inspection", Inspection, params)


def status(provider_id: str, limit: int, cursor: str | None) -> Call[ProviderStatusPage]:
    return _get(provider_id, "/status", ProviderStatusPage, _page(limit, cursor))


def pricing(provider_id: str, limit: int) -> Call[ProviderPricing]:
    return _get(provider_id, "/pricing", ProviderPricing, _page(limit, None))


def jobs(provider_id: str, limit: int, cursor: str | None) -> Call[JobPage]:
    return _get(provider_id, "/jobs", JobPage, _page(limit, cursor))


def _path(provider_id: str) -> str:
    return f"{_V1}/providers/{quoted(provider_id, safe='')}"


def _page(limit: int, cursor: str | None) -> Params:
    return (("limit", str(limit)), *((("cursor", cursor),) if cursor else ()))


def _get(provider_id: str, path: str, model: type[ModelT], params: Params = ()) -> Call[ModelT]:
    return Call("GET", _path(provider_id) + path, model.model_validate_json, params)


def _send(
    method: str,
    path: str,
    model: type[ModelT],
    body: Mapping[str, Any],
    *,
    repeatable: bool = True,
) -> Call[ModelT]:
    return Call(
        method,
        path,
        model.model_validate_json,
        body=encode(body),
        headers=dict(_JSON),
        repeatable=repeatable,
    )
