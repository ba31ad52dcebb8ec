"""States as SQL has them. Statements take them from here: the domain alone says which there are."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from cortex.domain.groups.states import TERMINAL_GROUP_STATES
from cortex.domain.states import TERMINAL_JOB_STATES


def listed(states: Iterable[StrEnum]) -> str:
    """States for an `IN (…)`."""
    return ", ".join(sorted(f"'{state.value}'" for state in states))


JOB_ENDED: Final = listed(TERMINAL_JOB_STATES)
GROUP_ENDED: Final = listed(TERMINAL_GROUP_STATES)
