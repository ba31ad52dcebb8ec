"""The Python client of Cortex: `Cortex` blocks, `AsyncCortex` awaits; both do the same."""

from cortex.client._async.client import AsyncCortex
from cortex.client._routes.call import LAST_SEEN
from cortex.client._routes.groups import GroupFilter, MemberFilter
from cortex.client._routes.jobs import JobFilter, Spec
from cortex.client._routes.templates import Filling
from cortex.client._sync.client import Cortex
from cortex.client.connection import Connection
from cortex.client.errors import (
    ApiError,
    BadAnswer,
    ClientError,
    ConnectionFailed,
    DamagedDownload,
    GroupWaitTimeout,
    InvalidValue,
    NotConfigured,
    PreconditionFailed,
    WaitTimeout,
)
from cortex.client.retry import NO_RETRY, RetryPolicy
from cortex.domain.groups.expand import GroupSpec
from cortex.domain.spec import JobSpec

__all__ = [
    "LAST_SEEN",
    "NO_RETRY",
    "ApiError",
    "AsyncCortex",
    "BadAnswer",
    "ClientError",
    "Connection",
    "ConnectionFailed",
    "Cortex",
    "DamagedDownload",
    "Filling",
    "GroupFilter",
    "GroupSpec",
    "GroupWaitTimeout",
    "InvalidValue",
    "JobFilter",
    "JobSpec",
    "MemberFilter",
    "NotConfigured",
    "PreconditionFailed",
    "RetryPolicy",
    "Spec",
    "WaitTimeout",
]
