"""Errors as problem+json (RFC 9457): the one place where they are rendered."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from api.pages import problem_page, wants_page
from cortex.domain.errors import (
    CortexError,
    FieldError,
    InvalidRequest,
    NotAuthenticated,
    ServiceUnavailable,
    TooManyRequests,
    field_error,
)
from cortex.domain.login_errors import LockedOut
from cortex.schemas.server import Problem

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = "2"

_SOURCES = frozenset({"query", "path", "header", "cookie", "body"})
_log = structlog.get_logger(__name__)


class MalformedBody(InvalidRequest):
    """Not even JSON or YAML; the detail says where."""

    status_code = 400
    code = "malformed_body"
    title = "The request body cannot be read"


class UnsupportedMediaType(CortexError):
    status_code = 415
    code = "unsupported_media_type"
    title = "The request body has a type that is not understood"


class RequestTimeout(CortexError):
    status_code = 408
    code = "request_timeout"
    title = "The request took too long to arrive"


class ServerBusy(TooManyRequests):
    """All places are taken; nothing was done."""

    status_code = 503
    title = "The server is busy"


class TooManyStreams(TooManyRequests):
    """One user has as many live streams open as one may have; none was opened."""

    code = "too_many_streams"
    title = "Too many live streams"


class RateLimited(TooManyRequests):
    """The caller has asked too often; nothing was done. `headers` say when to come again."""

    code = "rate_limited"
    title = "Too many requests"

    def __init__(self, detail: str, *, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.headers = dict(headers)


def problem_response(error: Exception, scope: Scope) -> Response:
    """The answer to an error. Unexpected ones are logged and say nothing internal."""
    if isinstance(error, CortexError) and type(error) is not CortexError:
        return _rendered(
            scope,
            status=error.status_code,
            code=error.code,
            title=error.title,
            detail=error.detail,
            errors=error.errors,
            headers=_headers(error),
        )
    _log.error("request.failed", path=scope.get("path"), exc_info=error)
    return _rendered(
        scope,
        status=500,
        code=CortexError.code,
        title=CortexError.title,
        detail="something went wrong in the server; its log says what, under the correlation id",
    )


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answers of the router: no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    path = request.url.path[:200]
    details = {
        404: f"there is nothing at `{path}`; see /docs",
        405: f"`{path}` does not take {request.method}",
    }
    phrase = HTTPStatus(status).phrase
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == 405 and (methods := _methods(request)):
        headers["allow"] = ", ".join(sorted(methods))
    return _rendered(
        request.scope,
        status=status,
        code="_".join(phrase.lower().replace("-", " ").split()),
        title=phrase,
        detail=details.get(status, str(error.detail)),
        headers=headers,
    )


def _methods(request: Request) -> set[str]:
    """All that is taken at this path, by whichever routes; the path with the fewest gaps counts."""
    by_depth: dict[int, set[str]] = {}
    for path, form, methods in request.app.state.paths:
        if form.match(request.scope["path"]):
            by_depth.setdefault(path.count("{"), set()).update(methods)
    return by_depth[min(by_depth)] if by_depth else set()


async def on_invalid_request(request: Request, error: Exception) -> Response:
    """Parameters that do not validate."""
    assert isinstance(error, RequestValidationError)
    errors = [_field(problem) for problem in error.errors()]
    words = ", ".join(f"`{problem.field}` {problem.message}" for problem in errors[:3])
    return problem_response(
        InvalidRequest(f"the request is not valid: {words}", errors=errors), request.scope
    )


def _field(problem: Mapping[str, Any]) -> FieldError:
    loc = tuple(problem["loc"])
    if len(loc) > 1 and loc[0] in _SOURCES:
        loc = loc[1:]
    return field_error(loc, problem["msg"], problem["type"])


def _headers(error: CortexError) -> dict[str, str]:
    if isinstance(error, RateLimited):
        return error.headers
    if isinstance(error, LockedOut):
        return {"retry-after": str(error.retry_after)}
    if isinstance(error, ServiceUnavailable | TooManyRequests):
        return {"retry-after": RETRY_AFTER}
    if isinstance(error, NotAuthenticated):
        return {"www-authenticate": "Bearer"}
    return {}


def _rendered(
    scope: Scope,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    if wants_page(scope):
        return problem_page(title, detail, status, headers or {})
    problem = Problem(
        title=title,
        status=status,
        code=code,
        detail=detail,
        instance=scope.get("path"),
        errors=tuple(errors),
        correlation_id=structlog.contextvars.get_contextvars().get("correlation_id"),
    )
    return Response(
        problem.model_dump_json(), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )
