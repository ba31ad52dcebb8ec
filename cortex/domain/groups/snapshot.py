"""What the planner of a group is given: the group as the database has it, at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from cortex.domain.groups.rules import GroupRules
from cortex.domain.groups.states import GroupState
from cortex.domain.jobs import Reason
from cortex.domain.states import CANCELLABLE_JOB_STATES, JobState

Decided = Literal["committed", "aborted"]
COMMITTED: Final = "committed"
ABORTED: Final = "aborted"


@dataclass(frozen=True)
class Member:
    """One job of the group.

    Attributes:
        held: The group has not started it: it has no workflow.
        ready: Its present lease is reserved, and nothing stops it.
        committed: A lease of it has been live.
        asked: Somebody, or its group, asked for its end.
    """

    id: str
    name: str
    gang: int
    state: JobState = JobState.PENDING
    held: bool = True
    ready: bool = False
    committed: bool = False
    asked: bool = False
    reason: Reason | None = None
    message: str = ""
    exit_code: int | None = None

    @property
    def waiting(self) -> bool:
        """It could be started."""
        return self.held and self.state == JobState.PENDING

    @property
    def live(self) -> bool:
        """It runs, or is on its way there, and can be stopped."""
        return not self.held and self.state in CANCELLABLE_JOB_STATES

    @property
    def gone(self) -> bool:
        """It will not run any more, whether or not it has ended already."""
        return self.state not in CANCELLABLE_JOB_STATES

    @property
    def fell_through(self) -> bool:
        """It is gone, and no lease of it was ever live."""
        return self.gone and not self.committed and self.state != JobState.COMPLETED


@dataclass(frozen=True)
class Gang:
    """Members that begin together.

    Attributes:
        needs: The ids of the jobs of the group that must complete before.
    """

    number: int
    needs: frozenset[str] = frozenset()
    decision: Decided | None = None
    reason: str = ""
    started_at: datetime | None = None
    deadline_at: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """The group. `gangs` has an entry for each gang that a member names."""

    id: str
    state: GroupState
    rules: GroupRules
    members: tuple[Member, ...]
    gangs: Mapping[int, Gang] = field(default_factory=dict)
    cancel_requested: bool = False
    cancel_reason: str = ""
