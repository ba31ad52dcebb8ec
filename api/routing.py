"""Routes whose parameters are read by a plan that is made once, when the server starts.

FastAPI walks through its dependencies anew at each request and asks of each what kind it is: for a
list of jobs that is more work than reading the jobs. A plan does the same with what was found out
at the start, in the same order and with the same errors. FastAPI still writes the document, and
still serves what a plan does not cover.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, get_args, get_origin

from fastapi import FastAPI
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.bodies import Body
from api.deprecation import Deprecation, deprecation_of, response_headers
from api.openapi import body_schema, problems

PREFIX: Final = "/api/v1"

Errors = list[dict[str, Any]]
_PLAIN: Final = (str, int, float, Enum, tuple)


@dataclass(frozen=True)
class _Parameter:
    """One parameter: where it stands in the request, and who checks it."""

    name: str
    key: str
    place: tuple[str, str]
    field: ModelField
    several: bool
    required: bool
    default: Any

    def read(self, given: Any, values: dict[str, Any], errors: Errors) -> None:
        value = (given.getlist(self.key) or None) if self.several else given.get(self.key)
        if value is None:
            if self.required:
                errors.append(
                    {"type": "missing", "loc": self.place, "msg": "Field required", "input": None}
                )
            else:
                values[self.name] = self.default
            return
        checked, wrong = self.field.validate(value, {}, loc=self.place)
        if wrong:
            errors.extend(wrong)
        else:
            values[self.name] = checked


class _Unplanned(Exception):
    """Something that only FastAPI itself knows how to do."""


class _Plan:
    """How the arguments of one function come out of a request."""

    def __init__(self, dependant: Dependant) -> None:
        call = dependant.call
        if call is None or not (
            inspect.iscoroutinefunction(call)
            or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004
        ):
            raise _Unplanned
        if (
            dependant.cookie_params
            or dependant.body_params
            or dependant.response_param_name
            or dependant.background_tasks_param_name
            or dependant.websocket_param_name
            or dependant.http_connection_param_name
            or dependant.security_scopes_param_name
        ):
            raise _Unplanned
        self.call: Callable[..., Awaitable[Any]] = call
        self._request = dependant.request_param_name
        plans = [(each.name, _Plan(each)) for each in dependant.dependencies]
        # The body comes last: who may not ask, or asks wrongly, hears of that first.
        self._before = [each for each in plans if not isinstance(each[1].call, Body)]
        self._after = [each for each in plans if isinstance(each[1].call, Body)]
        self._path = _parameters("path", dependant.path_params)
        self._query = _parameters("query", dependant.query_params)
        self._header = _parameters("header", dependant.header_params)

    async def arguments(self, request: Request, errors: Errors) -> dict[str, Any]:
        """The arguments; what is wrong with the request's parameters goes into `errors`."""
        values: dict[str, Any] = {}
        await _solve(self._before, request, values, errors)
        given: Mapping[str, Any]
        for place, parameters in self._path, self._query, self._header:
            if parameters:
                given = _GIVEN[place](request)
                for parameter in parameters:
                    parameter.read(given, values, errors)
        if self._request is not None:
            values[self._request] = request
        if self._after and not errors:
            await _solve(self._after, request, values, errors)
        return values


async def _solve(
    plans: Iterable[tuple[str | None, _Plan]],
    request: Request,
    values: dict[str, Any],
    errors: Errors,
) -> None:
    for name, plan in plans:
        wrong: Errors = []
        arguments = await plan.arguments(request, wrong)
        if wrong:
            errors.extend(wrong)
            continue
        value = await plan.call(**arguments)
        if name is not None:
            values[name] = value


_GIVEN: Final[dict[str, Callable[[Request], Any]]] = {
    "path": lambda request: request.path_params,
    "query": lambda request: request.query_params,
    "header": lambda request: request.headers,
}


def _parameters(place: str, fields: list[ModelField]) -> tuple[str, list[_Parameter]]:
    return place, [_parameter(place, field) for field in fields]


def _parameter(place: str, field: ModelField) -> _Parameter:
    info = field.field_info
    key = field.validation_alias or field.alias
    required = info.is_required()
    default = None if required else field.get_default()
    if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
        raise _Unplanned
    if info.validate_default or not (default is None or isinstance(default, _PLAIN)):
        raise _Unplanned
    return _Parameter(
        name=field.name,
        key=key,
        place=(place, key),
        field=field,
        several=_is_list(info.annotation),
        required=required,
        default=default,
    )


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (list, Sequence) or any(
        _is_list(each) for each in get_args(annotation)
    )


class Route(APIRoute):
    """A route of this API.

    One with a `Body` among its parameters has its schema and its problems in the document.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        body = _body_of(endpoint)
        if body is not None:
            told = options.get("responses") or {}
            options["responses"] = {**told, **problems(body=True)}
            options["openapi_extra"] = body_schema(
                body.model, yaml=body.yaml, required=not body.optional
            )
        going = deprecation_of(endpoint)
        if going is not None:
            _announce(going, options, inspect.getdoc(endpoint) or "")
        super().__init__(path, endpoint, **options)
        self._going = going.headers() if going else None
        self.body = body
        self._plan = self._made()

    @property
    def planned(self) -> bool:
        """Whether a plan serves it, and not FastAPI."""
        return self._plan is not None

    def _made(self) -> _Plan | None:
        answer = inspect.signature(self.endpoint).return_annotation
        if not (isinstance(answer, type) and issubclass(answer, Response)):
            return None
        try:
            return _Plan(self.dependant)
        except _Unplanned:
            return None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._going is not None:
            send = _marking(send, self._going)
        if self._plan is None or scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        errors: Errors = []
        arguments = await self._plan.arguments(Request(scope, receive, send), errors)
        if errors:
            raise RequestValidationError(errors)
        response = await self._plan.call(**arguments)
        await response(scope, receive, send)


def _announce(going: Deprecation, options: dict[str, Any], about: str) -> None:
    """What the document says of a route that goes away."""
    options["deprecated"] = True
    options["description"] = f"{about}\n\n{going.words()}".strip()
    told = dict(options.get("responses") or {})
    status = options.get("status_code") or 200
    answer = dict(told.get(status, {}))
    answer["headers"] = {**answer.get("headers", {}), **response_headers(going)}
    options["responses"] = {**told, status: answer}


def _marking(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return send_marked


def _body_of(endpoint: Callable[..., Any]) -> Body[Any] | None:
    for parameter in inspect.signature(endpoint).parameters.values():
        for mark in getattr(parameter.annotation, "__metadata__", ()):
            dependency = getattr(mark, "dependency", None)
            if isinstance(dependency, Body):
                return dependency
    return None


def api_router(*tags: str) -> APIRouter:
    """The router of one noun, below the prefix of the API."""
    return APIRouter(prefix=PREFIX, tags=list(tags), route_class=Route)


def mount(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Take the routes of these routers, in their order.

    One list of all: a router within a router is searched three times per request.
    """
    for router in routers:
        app.router.routes.extend(router.routes)
