"""Turns what activities raise into what the workflow can decide by."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from cortex.domain.errors import CortexError, DatabaseUnavailable
from cortex.domain.failures import FailureType, failure_type
from providers import errors as provider_errors

_Step = TypeVar("_Step", bound=Callable[..., Awaitable[Any]])
_log = structlog.get_logger(__name__)

_relentless: set[str] = set()
# How long a network may be unavailable before the next offer is tried.
PATIENCE = timedelta(minutes=2)
_PATIENT_SINCE: ContextVar[datetime] = ContextVar("patient_since")
_MAX_TEXT = 2000
_DATABASE_RETRY = timedelta(seconds=2)
RETRYABLE = (
    provider_errors.Unavailable,
    provider_errors.RateLimited,
    provider_errors.OutcomeUnknown,
)


def relentless(step: _Step) -> _Step:
    """`activity.defn` for a step that is never given up: the promise stands on it."""
    _relentless.add(step.__name__)
    return activity.defn(step)


def is_relentless(activity_type: str) -> bool:
    """Whether the activity of this name is never given up."""
    return activity_type in _relentless


@contextmanager
def translated() -> Iterator[None]:
    """Wraps the body of an activity: every error becomes an `ApplicationError` with a type."""
    try:
        yield
    except ApplicationError:
        raise
    except provider_errors.ProviderError as error:
        raise _from_provider(error) from error
    except DatabaseUnavailable as error:
        raise ApplicationError(
            error.detail,
            type=FailureType.DATABASE_UNAVAILABLE.value,
            next_retry_delay=_DATABASE_RETRY,
            category=ApplicationErrorCategory.BENIGN,
        ) from error
    except CortexError as error:
        raise ApplicationError(
            clip(error.detail), type=failure_type(error).value, non_retryable=not _goes_on()
        ) from error
    except Exception as error:
        # A bug: the trace goes to the log, not to the user.
        _log.exception("activity.bug", activity=activity.info().activity_type)
        raise ApplicationError(
            f"internal error ({type(error).__name__}); the worker's log has the trace",
            type=FailureType.BUG.value,
            non_retryable=not _goes_on(),
        ) from error


def clip(text: str) -> str:
    """Error text short enough for a payload."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def patient_since(began: datetime) -> None:
    """The running activity is patient with its network from `began` on, not from its start."""
    _PATIENT_SINCE.set(began)


def patience_left() -> timedelta:
    """How long the running activity's network may still be unavailable; 0 or less: no longer."""
    began = _PATIENT_SINCE.get(None) or activity.info().scheduled_time
    return PATIENCE - (datetime.now(UTC) - began)


def _from_provider(error: provider_errors.ProviderError) -> ApplicationError:
    delay = error.retry_after if isinstance(error, provider_errors.RateLimited) else None
    final = not isinstance(error, RETRYABLE) or patience_left() < timedelta(0)
    return ApplicationError(
        clip(str(error)),
        type=failure_type(error).value,
        non_retryable=final and not _goes_on(),
        next_retry_delay=delay,
        category=ApplicationErrorCategory.BENIGN,
    )


def _goes_on() -> bool:
    return is_relentless(activity.info().activity_type)
