"""Errors that people see: each has an HTTP status, a stable code and a sentence that helps."""

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from cortex.domain.units import format_bytes
from cortex.domain.wordings import worded

_BYTES = re.compile(r"(?<=equal to )\d+$")
_SIZES = frozenset({"memory", "storage", "size"})


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    model_config = ConfigDict(frozen=True)

    field: str
    message: str


class CortexError(Exception):
    """Base of every error that is told to a user."""

    status_code: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class InvalidRequest(CortexError):
    status_code = 422
    code = "invalid_request"
    title = "The request is not valid"

    @classmethod
    def from_validation(
        cls, error: ValidationError, where: str = "the job spec"
    ) -> "InvalidRequest":
        errors = field_errors(error)
        names = ", ".join(f"`{problem.field}` {problem.message}" for problem in errors[:3])
        return cls(f"{where} is not valid: {names}", errors=errors)


class NotAuthenticated(CortexError):
    status_code = 401
    code = "not_authenticated"
    title = "No valid API key"


class Forbidden(CortexError):
    """Known, but without the right; the detail names the action and the roles that may."""

    status_code = 403
    code = "forbidden"
    title = "Not allowed with this API key"

    def __init__(self, detail: str, *, action: str) -> None:
        super().__init__(detail)
        self.action = action


class NotFound(CortexError):
    status_code = 404
    code = "not_found"
    title = "Not found"


class Conflict(CortexError):
    status_code = 409
    code = "conflict"
    title = "The request conflicts with the current state"


class IdempotencyConflict(Conflict):
    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for another request"


class JobAlreadyEnded(Conflict):
    code = "job_already_ended"
    title = "The job has ended already"


class GroupAlreadyEnded(Conflict):
    code = "group_already_ended"
    title = "The group has ended already"


class NoProviderCanRun(CortexError):
    """`errors` names every provider and why it cannot run the job."""

    status_code = 422
    code = "no_provider"
    title = "No provider can run this job"


class OverBudget(CortexError):
    status_code = 422
    code = "over_budget"
    title = "The job would cost more than its budget"


class BudgetUsedUp(OverBudget):
    """A budget of many jobs has not enough left; the detail names it, what is left and asked."""

    status_code = 402
    title = "A budget has not enough left"


class PayloadTooLarge(CortexError):
    status_code = 413
    code = "payload_too_large"
    title = "The request is too large"


class PreconditionFailed(CortexError):
    """The thing is not at the version that the change is meant for; nothing was changed."""

    status_code = 412
    code = "precondition_failed"
    title = "It was changed meanwhile"


class TooManyRequests(CortexError):
    status_code = 429
    code = "too_many_requests"
    title = "The server is busy"


class ServiceUnavailable(CortexError):
    """Something that Cortex stands on is away; the detail says what."""

    status_code = 503
    code = "service_unavailable"
    title = "A service that Cortex needs is away"


class SubmissionsPaused(ServiceUnavailable):
    """An admin has said that nothing new is taken (`jobs.accept`)."""

    code = "submissions_paused"
    title = "No new jobs are taken"


class DatabaseUnavailable(ServiceUnavailable):
    code = "database_unavailable"
    title = "The database is away"


class TemporalUnavailable(ServiceUnavailable):
    code = "temporal_unavailable"
    title = "Temporal is away"


def field_errors(error: ValidationError) -> list[FieldError]:
    """One entry per problem, each with the dotted path of its field."""
    return [
        field_error(detail["loc"], detail["msg"], detail["type"])
        for detail in error.errors(include_url=False, include_context=False)
    ]


def field_error(loc: tuple[int | str, ...], message: str, kind: str) -> FieldError:
    """One problem as pydantic reports it, in our words."""
    path = _path(loc)
    if path.rpartition(".")[2] in _SIZES:
        message = _BYTES.sub(lambda match: format_bytes(int(match[0])), message)
    return FieldError(field=path, message=worded(message, kind))


def wrong_field(field: str, message: str) -> ValidationError:
    """A problem of one field that only the model as a whole shows; its validators raise it."""
    kind = PydanticCustomError("value_error", "{message}", {"message": message})
    return ValidationError.from_exception_data("", [{"type": kind, "loc": (field,), "input": None}])


_UNWRITTEN = ("[key]", "[value]", "[reference]")
"""Parts of a path that nobody has written: pydantic's word for a key that is wrong, and which of
several forms a value was taken for."""


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        if part in _UNWRITTEN:
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "spec"
