"""The types of failures: closed, and as histories hold them."""

import pytest

from cortex.domain import errors
from cortex.domain.failures import FailureType, failure_type
from providers import errors as provider_errors

# Histories hold these: none may change or go.
ON_THE_WIRE = [
    "AuthenticationFailed",
    "BudgetUsedUp",
    "Bug",
    "Conflict",
    "CortexError",
    "DatabaseUnavailable",
    "Forbidden",
    "GroupAlreadyEnded",
    "HandOver",
    "IdempotencyConflict",
    "ImageUnavailable",
    "InsufficientFunds",
    "InvalidRequest",
    "InvalidSpec",
    "JobAlreadyEnded",
    "LeaseLost",
    "LeaseReleased",
    "NoCapacity",
    "NoProviderCanRun",
    "NoSuchImage",
    "NotAuthenticated",
    "NotFound",
    "NotInTime",
    "NotInspected",
    "OutcomeUnknown",
    "OverBudget",
    "PayloadTooLarge",
    "PreconditionFailed",
    "ProviderError",
    "PullFailed",
    "RateLimited",
    "ServiceUnavailable",
    "SubmissionsPaused",
    "TemporalUnavailable",
    "TooManyRequests",
    "Unavailable",
    "Unsuitable",
    "UsageNotFinal",
]


def classes(module: object, base: type[Exception]) -> list[type[Exception]]:
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, base)]


KINDS = [
    *classes(errors, errors.CortexError),
    *classes(provider_errors, provider_errors.ProviderError),
]


def test_the_values_stay() -> None:
    assert sorted(failure.value for failure in FailureType) == ON_THE_WIRE


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_that_a_step_raises_has_its_own(kind: type[Exception]) -> None:
    assert failure_type(kind.__new__(kind)) == kind.__name__


def test_what_derives_from_one_counts_as_it() -> None:
    class EngineRefused(provider_errors.Unavailable):
        pass

    class Odd(provider_errors.ProviderError):
        pass

    assert failure_type(EngineRefused("no")) is FailureType.UNAVAILABLE
    assert failure_type(Odd("no")) is FailureType.PROVIDER_ERROR


def test_what_derives_from_none_is_a_bug() -> None:
    assert failure_type(KeyError("x")) is FailureType.BUG
