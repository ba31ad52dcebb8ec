"""The states of jobs and leases, and the only legal moves between them.

The database repeats these rules as guarded UPDATEs; nothing else decides about them.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class JobState(StrEnum):
    PENDING = "pending"
    PLACING = "placing"
    DEPLOYING = "deploying"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SETTLING = "settling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL_JOB_STATES


class LeaseState(StrEnum):
    """How far one attempt at one provider has got.

    `intended` is written before the network is called: from then on the network may hold
    something under the lease key, so every later state but `released` must be cleaned up.
    """

    INTENDED = "intended"
    RESERVED = "reserved"
    ACTIVE = "active"
    ENDED = "ended"
    LOST = "lost"
    RELEASING = "releasing"
    RELEASED = "released"


class RunState(StrEnum):
    """What a network says about a lease."""

    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"
    """The network definitely no longer runs it, and not because the command ended."""

    @property
    def final(self) -> bool:
        return self in (RunState.EXITED, RunState.LOST)


_J = JobState
_L = LeaseState

JOB_TRANSITIONS: Final = MappingProxyType(
    {
        _J.PENDING: frozenset({_J.PLACING, _J.CANCELLING}),
        _J.PLACING: frozenset({_J.DEPLOYING, _J.SETTLING, _J.CANCELLING}),
        # Back to `placing`: no capacity there, the next offer is tried.
        _J.DEPLOYING: frozenset({_J.RUNNING, _J.PLACING, _J.SETTLING, _J.CANCELLING}),
        # Back to `placing`: the lease was lost or the command failed, and retries are left.
        _J.RUNNING: frozenset({_J.PLACING, _J.SETTLING, _J.CANCELLING}),
        _J.CANCELLING: frozenset({_J.SETTLING}),
        _J.SETTLING: frozenset({_J.COMPLETED, _J.FAILED, _J.CANCELLED}),
        _J.COMPLETED: frozenset[JobState](),
        _J.FAILED: frozenset[JobState](),
        _J.CANCELLED: frozenset[JobState](),
    }
)

LEASE_TRANSITIONS: Final = MappingProxyType(
    {
        _L.INTENDED: frozenset({_L.RESERVED, _L.RELEASING}),
        _L.RESERVED: frozenset({_L.ACTIVE, _L.RELEASING}),
        _L.ACTIVE: frozenset({_L.ENDED, _L.LOST, _L.RELEASING}),
        _L.ENDED: frozenset({_L.RELEASING}),
        _L.LOST: frozenset({_L.RELEASING}),
        _L.RELEASING: frozenset({_L.RELEASED}),
        _L.RELEASED: frozenset[LeaseState](),
    }
)

TERMINAL_JOB_STATES: Final = frozenset({_J.COMPLETED, _J.FAILED, _J.CANCELLED})
CANCELLABLE_JOB_STATES: Final = frozenset(
    state for state, targets in JOB_TRANSITIONS.items() if _J.CANCELLING in targets
)


def job_sources(target: JobState) -> frozenset[JobState]:
    """The states from which a job may move to `target`."""
    return frozenset(state for state, targets in JOB_TRANSITIONS.items() if target in targets)


def lease_sources(target: LeaseState) -> frozenset[LeaseState]:
    """The states from which a lease may move to `target`."""
    return frozenset(state for state, targets in LEASE_TRANSITIONS.items() if target in targets)
