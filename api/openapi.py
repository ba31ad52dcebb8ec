"""What FastAPI cannot see by itself: bodies that we read, problems, streams, the API key."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.problems import MEDIA_TYPE
from cortex.domain.groups import GroupSpec
from cortex.domain.spec import JobSpec
from cortex.explorer_schemas import ResolveRequest
from cortex.money_schemas import BudgetCreate, BudgetUpdate
from cortex.provider_schemas import ProviderCreate, ProviderTest, ProviderUpdate
from cortex.reconcile_schemas import ReconcileRequest
from cortex.schemas import BatchRequest, CancelRequest, ExtendRequest, Problem

Responses = dict[int | str, dict[str, Any]]

_BODIES: Final[tuple[type[BaseModel], ...]] = (
    JobSpec,
    BatchRequest,
    CancelRequest,
    ExtendRequest,
    GroupSpec,
    ProviderCreate,
    ProviderUpdate,
    ProviderTest,
    ResolveRequest,
    BudgetCreate,
    BudgetUpdate,
    ReconcileRequest,
)
_SAID: Final = {
    400: "The body is neither JSON nor YAML, or a key stands twice in it.",
    401: "No valid API key.",
    402: "A budget has not enough left; `detail` names it.",
    403: "The role of this API key does not allow it; the detail names the roles that do.",
    404: "There is no such thing.",
    409: "It conflicts with the current state.",
    413: "The body is too large.",
    415: "The body has another content type.",
    422: "Something in the request is not valid; `errors` says what.",
    503: "The server is busy, or something it needs is away; see `Retry-After`.",
}


def problems(*statuses: int) -> Responses:
    """The problem+json answers of a route."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _SAID[status], "content": content}
        for status in (*statuses, *([401, 403] if statuses else []))
    }


def streamed(what: str) -> Responses:
    """That a route can also stream."""
    return {
        200: {
            "description": f"A page; as `text/event-stream`: {what}.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }


def sheet() -> Responses:
    """That a route can also answer with CSV."""
    return {
        200: {
            "description": "As JSON; with `format=csv` a sheet with all rows.",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    }


def body_schema(model: type[BaseModel], *, yaml: bool = False, required: bool = True) -> Any:
    """The request body of a route that reads it itself."""
    schema = {"schema": {"$ref": f"#/components/schemas/{_input(model.__name__)}"}}
    kinds = ["application/json", *(["application/yaml"] if yaml else [])]
    return {"requestBody": {"required": required, "content": dict.fromkeys(kinds, schema)}}


def document(app: FastAPI) -> None:
    """Complete the OpenAPI document of the app."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return dict(app.openapi_schema)
        schema: dict[str, Any] = plain()
        parts = schema.setdefault("components", {})
        parts.setdefault("schemas", {}).update(_definitions())
        parts["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        schema["security"] = [{"bearer": []}, {"key": []}]
        app.openapi_schema = schema
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _definitions() -> dict[str, Any]:
    _, inputs = models_json_schema(
        [(model, "validation") for model in _BODIES],
        ref_template=f"#/components/schemas/{_input('{model}')}",
    )
    found: dict[str, Any] = {_input(name): value for name, value in inputs["$defs"].items()}
    _, answers = models_json_schema(
        [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
    )
    found.update(answers["$defs"])
    return found


def _input(name: str) -> str:
    return f"Input_{name}"
