"""What FastAPI cannot see by itself: bodies that we read, problems, streams, the API key."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.examples import EXAMPLES
from api.fields import allow_fewer
from api.middleware import API_PREFIX, PUBLIC_PATHS
from api.problems import MEDIA_TYPE
from cortex.domain.groups.json_schema import group_spec_schema
from cortex.domain.names import NO_NUL
from cortex.domain.schema import job_spec_schema
from cortex.schemas.jobs import BatchRequest
from cortex.schemas.server import Problem

_DATA: Final = frozenset({"default", "examples", "example", "enum", "const", "description"})
"""What in a schema is no schema."""

Responses = dict[int | str, dict[str, Any]]

_SAID: Final = {
    400: "The body is neither JSON nor YAML, or a key stands twice in it; of `/auth/device/token`: "
    "the program is not let in, or not yet.",
    401: "No valid API key or access token; the detail says why.",
    402: "A budget has not enough left; `detail` names it.",
    403: "The role of this API key does not allow it; the detail names the roles that do.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "It conflicts with the current state.",
    412: "It is not at the version of `If-Match`; nothing was changed.",
    413: "The body is too large.",
    415: "The body has another content type, or is compressed (`Content-Encoding`).",
    422: "Something in the request is not valid; `errors` says what.",
    429: "Too many requests, keys that are not valid, or failed logins; see `Retry-After`.",
    503: "The server is busy, or something it needs is away; see `Retry-After`.",
}


_ANY: Final = (401, 403, 422, 429, 503)
_BODY: Final = (400, 408, 413, 415)


def problems(*statuses: int, body: bool = False) -> Responses:
    """The problem+json answers of a route, beside those that each has; `body`: it reads one."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _SAID[status], "content": content, **_told(status)}
        for status in sorted({*statuses, *_ANY, *(_BODY if body else ())})
    }


def _told(status: int) -> dict[str, Any]:
    """The headers of a problem."""
    if status not in (429, 503):
        return {}
    seconds = {"type": "integer", "minimum": 0}
    again = {"description": "Seconds to wait.", "required": True, "schema": seconds}
    return {"headers": {"Retry-After": again}}


RATE_LIMIT: Final = {
    "RateLimit-Policy": {
        "description": "The limit (`q` requests in `w` seconds), where there is one.",
        "schema": {"type": "string", "examples": ['"requests";q=600;w=60']},
    },
    "RateLimit": {
        "description": "What is left (`r`) until the window ends (`t` seconds).",
        "schema": {"type": "string", "examples": ['"requests";r=599;t=42']},
    },
}


def changed() -> Responses:
    """That an answer has the `ETag` of the new version."""
    tag = {"description": "For `If-Match` and `If-None-Match`.", "schema": {"type": "string"}}
    return {200: {"headers": {"ETag": tag}}}


UNCHANGED: Final[Responses] = {
    **changed(),
    304: {"description": "It is as `If-None-Match` says.", **changed()[200]},
}
"""Of a route that takes `If-None-Match`."""


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
    schema: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{_input(model.__name__)}"}}
    if model.__name__ in EXAMPLES:
        schema["examples"] = EXAMPLES[model.__name__]
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
        parts.setdefault("schemas", {}).update(_definitions(_bodies(app)))
        parts["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        parts["headers"] = RATE_LIMIT
        schema["security"] = [{"bearer": []}, {"key": []}]
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                limited = path.startswith(API_PREFIX)
                _complete(operation, limited=limited, public=path in PUBLIC_PATHS)
        allow_fewer(schema)
        app.openapi_schema = schema
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


_LIMITED: Final = {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_LIMIT}


def _complete(operation: dict[str, Any], *, limited: bool, public: bool) -> None:
    if public or not limited:
        operation["security"] = []
    if limited:
        for response in operation["responses"].values():
            response.setdefault("headers", {}).update(_LIMITED)
    # FastAPI's own, in a form that is never sent.
    invalid = operation["responses"].get("422", {}).get("content", {})
    if "application/json" in invalid:
        operation["responses"]["422"]["content"] = problems()[422]["content"]
    for parameter in operation.get("parameters", ()):
        given = _given(parameter["schema"])
        parameter["schema"] = given if parameter["in"] == "header" else without_nul(given)


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a parameter: it is a text or not there, and never null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    if len(kinds) == 1:
        return {**rest, **kinds[0]}
    return {**rest, "anyOf": kinds} if kinds else schema


def without_nul(schema: Any) -> Any:
    """The same schema, with no text that has a NUL character: the database could not hold it."""
    if isinstance(schema, list):
        return [without_nul(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    limited = {
        name: value if name in _DATA else without_nul(value) for name, value in schema.items()
    }
    free = not limited.keys() & {"pattern", "enum", "const", "format"}
    if free and "string" in _kinds(limited):
        limited["pattern"] = NO_NUL
    if "object" in _kinds(limited) and limited.get("additionalProperties", False) is not False:
        limited.setdefault("propertyNames", {"pattern": NO_NUL})
    return limited


def _kinds(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind] if isinstance(kind, str) else []


def _bodies(app: FastAPI) -> list[type[BaseModel]]:
    """What the routes take, each once."""
    bodies = (getattr(route, "body", None) for route in app.routes)
    return list(dict.fromkeys(body.model for body in bodies if body is not None))


def _definitions(bodies: Sequence[type[BaseModel]]) -> dict[str, Any]:
    _, inputs = models_json_schema(
        [(model, "validation") for model in bodies],
        ref_template=f"#/components/schemas/{_input('{model}')}",
    )
    written = {**inputs["$defs"], **_written()}
    definitions: dict[str, Any] = {
        _input(name): without_nul(value) for name, value in written.items()
    }
    _, answers = models_json_schema(
        [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
    )
    definitions.update(answers["$defs"])
    return definitions


def _written() -> dict[str, Any]:
    """The specs as people write them, short forms included: the schemas that editors get.

    A job of a group has placeholders in its texts, so its parts are not those of a job.
    """
    job, group = job_spec_schema(), group_spec_schema()
    batch = BatchRequest.model_json_schema(mode="validation")
    schemas: dict[str, Any] = {}
    for name, prefix, schema in (("JobSpec", "", job), ("GroupSpec", "Template_", group)):
        parts = schema.pop("$defs")
        schema.pop("$schema")
        text = json.dumps({**{f"{prefix}{part}": parts[part] for part in parts}, name: schema})
        schemas |= json.loads(text.replace('"#/$defs/', f'"#/components/schemas/{_input(prefix)}'))
    batch.pop("$defs")
    batch["properties"]["jobs"]["items"] = {"$ref": f"#/components/schemas/{_input('JobSpec')}"}
    return {**schemas, "BatchRequest": batch}


def _input(name: str) -> str:
    return f"Input_{name}"
