"""Errors in answers: the codes of REST, and nothing internal."""

from collections.abc import Iterable
from typing import Any, Final

import structlog
from graphql import GraphQLError

from cortex.domain.errors import CortexError, FieldError, InvalidRequest

_ARGUMENTS: Final = {
    "cursor": "after",
    "next_cursor": "endCursor",
    "Idempotency-Key": "idempotencyKey",
}
"""What REST calls otherwise than GraphQL."""
_log = structlog.get_logger(__name__)
_INTERNAL: Final = "something went wrong in the server; its log says what, under the correlation id"


def error_row(error: GraphQLError) -> dict[str, Any]:
    """An error as GraphQL answers it; `extensions.code` is that of REST's problems."""
    known = cause_of(error)
    row: dict[str, Any] = {"message": error.message}
    if error.locations:
        row["locations"] = [
            {"line": place.line, "column": place.column} for place in error.locations
        ]
    if error.path:
        row["path"] = error.path
    if known is not None:
        row["message"] = _in_graphql(known.detail)
        row["extensions"] = _extensions(known)
    elif _root(error) is None:
        row["extensions"] = {"code": InvalidRequest.code}
    else:
        row["message"] = _INTERNAL
        row["extensions"] = {"code": CortexError.code, **_correlated()}
    return row


def problem_row(error: CortexError) -> dict[str, Any]:
    """An error of the whole request."""
    return {"message": _in_graphql(error.detail), "extensions": _extensions(error)}


def cause_of(error: GraphQLError) -> CortexError | None:
    """The error of ours behind it, if it is one that is told."""
    cause = _root(error)
    if isinstance(cause, CortexError) and type(cause) is not CortexError:
        return cause
    return None


def log_unexpected(errors: Iterable[GraphQLError]) -> None:
    """What is not told to whoever asks stands in the log."""
    for error in errors:
        cause = _root(error)
        if cause is not None and cause_of(error) is None:
            _log.error("graphql.failed", path=error.path, exc_info=cause)


def _root(error: GraphQLError) -> Exception | None:
    """What a resolver raised; None: GraphQL itself refuses what it was given."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _extensions(error: CortexError) -> dict[str, Any]:
    told: dict[str, Any] = {"code": error.code, "status": error.status_code}
    if error.errors:
        told["errors"] = [
            FieldError(
                field=_ARGUMENTS.get(each.field, each.field), message=_in_graphql(each.message)
            ).model_dump()
            for each in error.errors
        ]
    return {**told, **_correlated()}


def _in_graphql(text: str) -> str:
    for name, argument in _ARGUMENTS.items():
        text = text.replace(f"`{name}`", f"`{argument}`")
    return text


def _correlated() -> dict[str, Any]:
    name = structlog.contextvars.get_contextvars().get("correlation_id")
    return {"correlation_id": name} if name else {}
