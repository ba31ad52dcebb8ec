"""Saved filters: which jobs of a list, by a name of one's own or of a project."""

from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.quantities import Duration
from cortex.domain.states import JobState

MOST_SAVED: Final = 100
"""Of one person, and of one project."""


class SavedJobs(BaseModel):
    """Which jobs; what is not given does not matter.

    Attributes:
        created_within: Not older than this when the list is asked for.
    """

    model_config = ConfigDict(frozen=True)

    state: tuple[JobState, ...] = ()
    project: str | None = None
    provider: str | None = None
    owner: str | None = None
    name: str | None = None
    label: dict[str, str] = Field(default_factory=dict)
    group: str | None = None
    created_within: Duration | None = None

    def since(self, now: datetime) -> datetime | None:
        """The time after which they were created."""
        return None if self.created_within is None else now - self.created_within


class SavedFilter(BaseModel):
    """A filter by its name.

    Attributes:
        owner: Who saved it last.
        shared: The project whose members have it; None: its owner alone.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    owner: str
    shared: str | None
    jobs: SavedJobs
    updated_at: datetime
