"""What kind of failure a step tells its workflow: on the wire, and in histories for ever."""

from enum import StrEnum


class FailureType(StrEnum):
    """The `type` of an `ApplicationError`. No value may change: histories hold them."""

    # Of a network: the classes of `providers.errors`.
    PROVIDER_ERROR = "ProviderError"
    INVALID_SPEC = "InvalidSpec"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    NO_CAPACITY = "NoCapacity"
    UNSUITABLE = "Unsuitable"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    PULL_FAILED = "PullFailed"
    NO_SUCH_IMAGE = "NoSuchImage"
    INSUFFICIENT_FUNDS = "InsufficientFunds"
    RATE_LIMITED = "RateLimited"
    UNAVAILABLE = "Unavailable"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    LEASE_LOST = "LeaseLost"
    # Of Cortex: the classes of `cortex.domain.errors`.
    CORTEX_ERROR = "CortexError"
    INVALID_REQUEST = "InvalidRequest"
    NOT_AUTHENTICATED = "NotAuthenticated"
    FORBIDDEN = "Forbidden"
    NOT_FOUND = "NotFound"
    CONFLICT = "Conflict"
    PRECONDITION_FAILED = "PreconditionFailed"
    SUBMISSIONS_PAUSED = "SubmissionsPaused"
    IDEMPOTENCY_CONFLICT = "IdempotencyConflict"
    JOB_ALREADY_ENDED = "JobAlreadyEnded"
    GROUP_ALREADY_ENDED = "GroupAlreadyEnded"
    NO_PROVIDER_CAN_RUN = "NoProviderCanRun"
    OVER_BUDGET = "OverBudget"
    BUDGET_USED_UP = "BudgetUsedUp"
    PAYLOAD_TOO_LARGE = "PayloadTooLarge"
    TOO_MANY_REQUESTS = "TooManyRequests"
    SERVICE_UNAVAILABLE = "ServiceUnavailable"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    TEMPORAL_UNAVAILABLE = "TemporalUnavailable"
    # Of the steps themselves.
    BUG = "Bug"
    HAND_OVER = "HandOver"
    LEASE_RELEASED = "LeaseReleased"
    NOT_IN_TIME = "NotInTime"
    NOT_INSPECTED = "NotInspected"
    USAGE_NOT_FINAL = "UsageNotFinal"


def failure_type(error: Exception) -> FailureType:
    """The type of an error by its class; of a class that is none, by the next base that is."""
    for kind in type(error).__mro__:
        if kind.__name__ in _VALUES:
            return FailureType(kind.__name__)
    return FailureType.BUG


_VALUES = frozenset(failure.value for failure in FailureType)
