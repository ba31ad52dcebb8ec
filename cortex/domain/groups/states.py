"""The states of groups and the only legal moves between them: never back, never out of an end."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class GroupState(StrEnum):
    PENDING = "pending"
    PREPARING = "preparing"
    """Members are being reserved, and none is committed yet."""
    RUNNING = "running"
    ENDING = "ending"
    """It is given up: what is left of it is being undone."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL_GROUP_STATES


_G = GroupState

TERMINAL_GROUP_STATES: Final = frozenset({_G.COMPLETED, _G.FAILED, _G.CANCELLED})

# A coordinator that was away for long may find that all members have ended meanwhile: every
# state may be the last before the end.
GROUP_TRANSITIONS: Final = MappingProxyType(
    {
        _G.PENDING: frozenset({_G.PREPARING, _G.RUNNING, _G.ENDING, *TERMINAL_GROUP_STATES}),
        _G.PREPARING: frozenset({_G.RUNNING, _G.ENDING, *TERMINAL_GROUP_STATES}),
        _G.RUNNING: frozenset({_G.ENDING, *TERMINAL_GROUP_STATES}),
        _G.ENDING: TERMINAL_GROUP_STATES,
        _G.COMPLETED: frozenset[GroupState](),
        _G.FAILED: frozenset[GroupState](),
        _G.CANCELLED: frozenset[GroupState](),
    }
)


def group_sources(target: GroupState) -> frozenset[GroupState]:
    """The states from which a group may move to `target`."""
    return frozenset(state for state, targets in GROUP_TRANSITIONS.items() if target in targets)
